"""Marian's and M2M100's own tokenizers, as they are published: sentencepiece models beside a vocab.json."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

import sentencepiece
from transformers import M2M100Tokenizer, MarianTokenizer

from tests.checkpoints.classifier_tokenizers import _texts
from tests.checkpoints.train.numerals import pair

POSITIONS = 64
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")


def corpora() -> tuple[list[str], list[str]]:
    """English and French texts: accents are in the second alone."""
    random = Random(0)
    pairs = [pair(random) for _ in range(300)]
    return [*_texts(), *(one.english for one in pairs)], [one.french for one in pairs]


def pieces(texts: Iterable[str], size: int, kind: str) -> tuple[bytes, list[str]]:
    """A sentencepiece model of a kind ("unigram", "bpe") as a file's content, and its pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=size, model_type=kind, minloglevel=2
    )
    read = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    names = [read.id_to_piece(index) for index in range(read.get_piece_size())]
    return model.getvalue(), [name for name in names if name not in SPECIAL]


def marian_tokenizer(folder: Path, lacking: int = 5) -> MarianTokenizer:
    """One vocabulary of both languages, which lacks some pieces of the source's model; a language code."""
    english, french = corpora()
    source, own = pieces(english, 300, "unigram")
    target, other = pieces(french, 90, "unigram")
    known = [*own[:10], *own[10 + lacking :]]
    vocab = ["</s>", "<unk>", ">>fra<<", *dict.fromkeys([*other, *known]), "<pad>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source.spm").write_bytes(source)
    (folder / "target.spm").write_bytes(target)
    write_vocab(folder, vocab)
    files = (str(folder / name) for name in ("source.spm", "target.spm", "vocab.json"))
    return MarianTokenizer(*files, model_max_length=POSITIONS)


def m2m_tokenizer(folder: Path) -> M2M100Tokenizer:
    """BPE pieces in ids of their own order, a hundred languages behind them."""
    model, own = pieces(corpora()[0], 300, "bpe")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    write_vocab(folder, ["<s>", "<pad>", "</s>", "<unk>", *own])
    files = (str(folder / name) for name in ("vocab.json", "sentencepiece.bpe.model"))
    return M2M100Tokenizer(*files, src_lang="en", tgt_lang="fr", model_max_length=POSITIONS)


def write_vocab(folder: Path, tokens: list[str]) -> None:
    """Ids in the order of the tokens."""
    vocab = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
