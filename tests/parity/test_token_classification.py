"""token-classification against `transformers.pipeline`: strategies, windows, words, batches, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline as hf_pipeline

from runtime import pipeline
from tests.checkpoints import TINY_NER
from tests.checkpoints.encoders import TAGS, labelled, tiny_encoder
from tests.parity.answers import assert_same
from tests.text_bundles import TextBundles
from tests.torch_pipelines import torch_pipeline

TASK = "token-classification"
STRATEGIES = ["none", "simple", "first", "average", "max"]
SHORT = "Mr John Keller works for Siemens in Munich."
LONG = "Anna Becker met Hugo Weber in Lisbon. " * 12 + "Then Acme Bank opened an office in Oslo."
TEXTS = [SHORT, "ok", "", "Hans, Ümit & François flew from São Paulo to Zürich 👍 東京 with Microsoft.", LONG]
WORDS = [["John", "Keller", "lives", "in", "Munich", "."], ["São", "Paulo's", "co-op"]]

Pair = tuple[Any, Any]


@pytest.fixture(scope="module")
def pair(text_bundles: TextBundles) -> Pair:
    """(ours, HF's), made without arguments."""
    return pipeline("ner", text_bundles("ner")), hf_pipeline(TASK, str(TINY_NER), device=-1)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("options", [{}, {"ignore_labels": []}, {"ignore_labels": ["O", "PER", "B-PER"]}], ids=str)
def test_strategies(pair: Pair, strategy: str, options: dict[str, Any]) -> None:
    ours, theirs = pair
    for inputs in (SHORT, TEXTS, [SHORT]):
        expected = theirs(inputs, aggregation_strategy=strategy, **options)
        assert_same(ours(inputs, aggregation_strategy=strategy, **options), expected)


def test_it_finds_names(pair: Pair) -> None:
    """The trained checkpoint makes this more than a comparison of noise; scores are numpy's, as in HF."""
    found = pair[0](SHORT, aggregation_strategy="first")
    assert [(e["entity_group"], SHORT[e["start"] : e["end"]]) for e in found] == [
        ("PER", "John Keller"),
        ("ORG", "Siemens"),
        ("LOC", "Munich"),
    ]
    assert all(type(e["score"]) is np.float32 for e in found)


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("stride", [0, 1, 8, 30])
def test_windows(pair: Pair, strategy: str, stride: int) -> None:
    ours, theirs = pair
    for inputs in (LONG, TEXTS):
        expected = theirs(inputs, aggregation_strategy=strategy, stride=stride)
        assert_same(ours(inputs, aggregation_strategy=strategy, stride=stride, batch_size=3), expected)
    # HF lets a stride pass without a strategy.
    assert_same(ours(LONG, stride=stride), theirs(LONG, stride=stride))


@pytest.mark.parametrize("batch_size", [2, 5])
def test_batches(pair: Pair, batch_size: int) -> None:
    ours, theirs = pair
    assert_same(ours(TEXTS, batch_size=batch_size), theirs(TEXTS))
    stream = ours((text for text in TEXTS), batch_size=batch_size)
    assert isinstance(stream, Iterator)
    assert_same(list(stream), theirs(TEXTS, batch_size=batch_size))


@pytest.mark.parametrize("delimiter", [None, "", "--"])
@pytest.mark.parametrize("strategy", ["none", "simple", "max"])
def test_words(pair: Pair, delimiter: str | None, strategy: str) -> None:
    """Lists of words, one of them alone comes back in a list as well."""
    ours, theirs = pair
    options = {"is_split_into_words": True, "delimiter": delimiter, "aggregation_strategy": strategy}
    for inputs in (WORDS, WORDS[0], [WORDS[1]]):
        assert_same(ours(inputs, **options), theirs(inputs, **options))


def test_offset_mapping(pair: Pair) -> None:
    ours, theirs = pair
    count = len(ours.tokenizer(SHORT)["input_ids"])
    mapping = [(i, i + 1) for i in range(count)]
    assert_same(ours(SHORT, offset_mapping=mapping), theirs(SHORT, offset_mapping=mapping))
    with pytest.raises(ValueError, match="2 mappings for 1 texts"):
        ours(SHORT, offset_mapping=[mapping, mapping])


def test_arguments_of_the_constructor(text_bundles: TextBundles) -> None:
    options = {"aggregation_strategy": "simple", "ignore_labels": ["O", "ORG"]}
    ours = pipeline(TASK, text_bundles("ner"), batch_size=2, **options)
    theirs = hf_pipeline(TASK, str(TINY_NER), device=-1, **options)
    assert_same(ours(TEXTS), theirs(TEXTS))
    assert_same(ours(SHORT, aggregation_strategy="none"), theirs(SHORT, aggregation_strategy="none"))


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "empty list": ([], {}, "at least one input is required"),
    "none": (None, {}, "at least one input is required"),
    "tuple": ((SHORT, SHORT), {}, "not a tuple"),
    "number in a list": ([3], {}, "takes a text, not int"),
    "second of a batch": ([SHORT, 3], {"batch_size": 2}, "item 1: token-classification takes a text"),
    "strategy": (SHORT, {"aggregation_strategy": "most"}, "use one of none, simple, first, average, max"),
    "stride": (SHORT, {"stride": 64, "aggregation_strategy": "first"}, "must be less than the 64 tokens"),
    "stride without strategy": (SHORT, {"stride": 4, "aggregation_strategy": "none"}, "needs an aggregation_strategy"),
    "text for words": ([[SHORT, 3]], {"is_split_into_words": True}, "an input is a list of words"),
}


@pytest.mark.parametrize(("inputs", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(pair: Pair, inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="") as caught:
        pair[0](inputs, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_steps_one_by_one(pair: Pair) -> None:
    ours, theirs = pair
    windows, hf_windows = list(ours.preprocess(SHORT)), list(theirs.preprocess(SHORT, is_split_into_words=False))
    assert len(windows) == len(hf_windows) == 1
    for name in ("input_ids", "attention_mask", "token_type_ids", "special_tokens_mask", "offset_mapping"):
        np.testing.assert_array_equal(windows[0][name], hf_windows[0][name].numpy())
    outputs = [ours.forward(window) for window in windows]
    assert_same(ours.postprocess(outputs), theirs(SHORT))
    assert_same(ours.postprocess(outputs, aggregation_strategy="max"), theirs(SHORT, aggregation_strategy="max"))


@pytest.mark.parametrize("model_type", ["roberta", "deberta-v2", "distilbert"])
def test_other_tokenizers(model_type: str, tmp_path: Path) -> None:
    """Byte-level BPE and unigrams have no mark of continued words: a rule of thumb decides, with a warning."""
    folder = tiny_encoder("AutoModelForTokenClassification", model_type, tmp_path / "c", **labelled(TAGS))
    ours, theirs = torch_pipeline(TASK, folder, tmp_path / "b"), hf_pipeline(TASK, str(folder), device=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for strategy in STRATEGIES:
            expected = theirs(TEXTS, aggregation_strategy=strategy)
            assert_same(ours(TEXTS, aggregation_strategy=strategy, batch_size=2), expected)
        assert_same(ours(WORDS, is_split_into_words=True), theirs(WORDS, is_split_into_words=True))
    if model_type != "distilbert":
        with pytest.warns(UserWarning, match="does not support real words"):
            ours(SHORT, aggregation_strategy="first")
