"""Tokenizers that transformers has in Python only, Marian's and M2M100's: converted at export, equal on every probe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from exporter.tokenizer import save_tokenizer
from exporter.validation.tokens import compare_tokenizers
from runtime import pipeline
from runtime.errors import ExportError
from runtime.session import close_sessions
from runtime.tokenizer import Tokenizer
from tests.checkpoints.piece_tokenizers import corpora, m2m_tokenizer, marian_tokenizer
from tests.checkpoints.seq2seq import ROWS
from tests.checkpoints.weights import seeded_model

MAKERS: dict[str, Callable[[Path], Any]] = {"marian": marian_tokenizer, "m2m_100": m2m_tokenizer}
ACCENTS = ["Ça coûte", "é", "é û", "éû Çé", "naïve café 你好", "👍👍 ok", "a\ue000b"]


@pytest.mark.parametrize("kind", MAKERS)
def test_ids_and_texts_are_equal(kind: str, tmp_path: Path) -> None:
    source = MAKERS[kind](tmp_path / "source")
    ours = Tokenizer(tmp_path / "bundle", save_tokenizer(source, tmp_path / "bundle"))
    assert compare_tokenizers(source, ours) == []
    for text in [*corpora()[0], *corpora()[1], *ACCENTS]:
        ids = source(text)["input_ids"]
        assert ours(text)["input_ids"] == ids, text
        assert ours.decode(ids, skip_special_tokens=True) == source.decode(ids, skip_special_tokens=True), text


def test_pieces_that_the_vocabulary_lacks_mean_the_unknown_token(tmp_path: Path) -> None:
    """Without the manifest's limit they would be ids that the model has no embedding for, and the proof says so."""
    source = marian_tokenizer(tmp_path / "source")
    spec = save_tokenizer(source, tmp_path / "bundle")
    ours, wrong = (
        Tokenizer(tmp_path / "bundle", one) for one in (spec, msgspec.structs.replace(spec, unknown_from=None))
    )
    assert spec.unknown_from == len(source)
    ids = [index for text in corpora()[0] for index in wrong(text)["input_ids"]]
    assert max(ids) >= len(source) > max(index for text in corpora()[0] for index in ours(text)["input_ids"])
    assert any(line.startswith("encode") for line in compare_tokenizers(source, wrong))


def test_language_codes_of_marian_stand_before_the_text(tmp_path: Path) -> None:
    source = marian_tokenizer(tmp_path / "source")
    ours = Tokenizer(tmp_path / "bundle", save_tokenizer(source, tmp_path / "bundle"))
    ids = source(">>fra<< It costs two euros.")["input_ids"]
    assert ids[0] == 2 and ours(">>fra<< It costs two euros.")["input_ids"] == ids


def test_two_vocabularies_are_refused(tmp_path: Path) -> None:
    source = marian_tokenizer(tmp_path / "source")
    source.separate_vocabs = True
    with pytest.raises(ExportError, match="one vocabulary for each language"):
        save_tokenizer(source, tmp_path / "bundle")


def test_export_and_translation(tmp_path: Path) -> None:
    """A checkpoint with such a tokenizer: validated, and between languages as `generate()` says."""
    from exporter import export

    torch.set_num_threads(1)
    folder = tmp_path / "m2m"
    tokenizer = m2m_tokenizer(folder)
    ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
    size = max(tokenizer.lang_code_to_id.values()) + 1 + tokenizer.num_madeup_words
    config = AutoConfig.for_model("m2m_100", vocab_size=size, **ROWS["m2m_100"], **ids)
    model = seeded_model(lambda: AutoModelForSeq2SeqLM.from_config(config, attn_implementation="eager"), seed=5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pipe = pipeline("translation", export(folder, task="translation", output=tmp_path / "repository", name="m2m"))
    for text, source, target in (("The bridge is long.", "en", "fr"), ("Ça coûte", "fr", "de")):
        inputs = tokenizer._build_translation_inputs(text, return_tensors="pt", src_lang=source, tgt_lang=target)
        with torch.no_grad():
            expected = model.generate(**inputs, max_new_tokens=9, num_beams=2)[0]
        found = pipe(text, src_lang=source, tgt_lang=target, max_new_tokens=9, num_beams=2)
        assert found == [{"translation_text": tokenizer.decode(expected, skip_special_tokens=True)}]
    pipe.close()
    close_sessions()
