"""Small working tokenizers for the tiny classifiers, each of the kind its architecture's published models have.

BPE and unigram pieces come from the two held-out files of ``data/``: 30 KB give a few hundred pieces at once.
WordPiece vocabularies come from the trained sentiment model, BPE for decoders from the trained GPT-2.
"""

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from math import log

from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AlbertTokenizer,
    AutoTokenizer,
    BertTokenizer,
    DebertaV2Tokenizer,
    DistilBertTokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from tests.checkpoints import LM_HELDOUT, SENTIMENT_HELDOUT, TINY_BERT, TINY_GPT2

PIECES = 600
LONGEST = 8  # letters of a unigram piece
# In the order of their ids in the published models.
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ALBERT_SPECIAL = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
DEBERTA_SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
MPNET_SPECIAL = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]


def classifier_tokenizer(model_type: str, max_length: int) -> PreTrainedTokenizerBase:
    """A tokenizer that suits a sequence classifier of ``model_type`` and truncates to ``max_length`` tokens."""
    tokenizer = _BUILDERS[model_type]()
    tokenizer.model_max_length = max_length
    return tokenizer


def _roberta() -> PreTrainedTokenizerBase:
    model = _bpe(ROBERTA_SPECIAL).to_str()
    return RobertaTokenizer(*_vocab_and_merges(model))


def _modernbert() -> PreTrainedTokenizerBase:
    bpe = _bpe(DEBERTA_SPECIAL)
    pair = [("[CLS]", bpe.token_to_id("[CLS]")), ("[SEP]", bpe.token_to_id("[SEP]"))]
    bpe.post_processor = TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", special_tokens=pair)
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, mask_token="[MASK]", **names)


def _mpnet() -> PreTrainedTokenizerBase:
    pieces = [piece for piece in _wordpieces() if not piece.startswith("[")]
    return MPNetTokenizer({piece: index for index, piece in enumerate([*MPNET_SPECIAL, *pieces])})


def _bpe(special: list[str]) -> ByteLevelBPETokenizer:
    """Byte-level BPE of ``PIECES`` pieces, ``special`` first."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(_texts(), vocab_size=PIECES, special_tokens=special, show_progress=False)
    return bpe


def _vocab_and_merges(serialised: str) -> tuple[dict[str, int], list[tuple[str, ...]]]:
    """The vocabulary and merges of a BPE tokenizer from its JSON."""
    model = json.loads(serialised)["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _unigrams(special: list[str], unknown: str, lower: bool = False) -> list[tuple[str, float]]:
    """Unigram pieces with their log-probabilities, ``special`` first.

    Counted, not trained: the trainer of `tokenizers` gives equal pieces in another order each time, and the answers
    that were recorded with such a tokenizer would be another's.
    """
    words = Counter(f"▁{word}" for text in _texts() for word in (text.lower() if lower else text).split())
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + LONGEST, len(word)) + 1):
                counts[word[start:end]] += times
    letters = sorted(piece for piece in counts if len(piece) == 1)
    useful = sorted((piece for piece in counts if len(piece) > 1), key=lambda p: (-counts[p] * (len(p) - 1), p))
    chosen = letters + useful[: PIECES - len(letters) - len(special)]
    total = sum(counts[piece] for piece in chosen)
    scores = [(piece, round(log(counts[piece] / total), 4)) for piece in chosen]
    assert unknown in special
    return [*((token, 0.0) for token in special), *scores]


@cache
def _texts() -> tuple[str, ...]:
    """Lines of both held-out files."""
    reviews = [json.loads(line)["text"] for line in SENTIMENT_HELDOUT.read_text(encoding="utf-8").splitlines()]
    return (*reviews, *LM_HELDOUT.read_text(encoding="utf-8").splitlines())


def _wordpieces() -> dict[str, int]:
    """The sentiment model's vocabulary in order of id."""
    vocab = AutoTokenizer.from_pretrained(TINY_BERT).get_vocab()
    return dict(sorted(vocab.items(), key=lambda item: item[1]))


def _gpt2() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(TINY_GPT2)


_BUILDERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "bert": lambda: BertTokenizer(_wordpieces()),
    "roberta": _roberta,
    "distilbert": lambda: DistilBertTokenizer(_wordpieces()),
    "albert": lambda: AlbertTokenizer(_unigrams(ALBERT_SPECIAL, "<unk>", lower=True)),
    "electra": lambda: BertTokenizer(_wordpieces()),
    "deberta-v2": lambda: DebertaV2Tokenizer(_unigrams(DEBERTA_SPECIAL, "[UNK]")),
    "modernbert": _modernbert,
    "xlm-roberta": lambda: XLMRobertaTokenizer(_unigrams(ROBERTA_SPECIAL, "<unk>")),
    "mpnet": _mpnet,
    "gpt2": _gpt2,
    "llama": _gpt2,
}
