"""fill-mask against `transformers.pipeline`: masks, targets, nesting, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline as hf_pipeline

from runtime import pipeline
from runtime.errors import InputError, PipelineException
from tests.checkpoints.encoders import tiny_encoder
from tests.parity.answers import assert_same
from tests.text_bundles import TextBundles
from tests.torch_pipelines import torch_pipeline

TASK = "fill-mask"
ONE, TWO, ALONE = "Return the {0} of the list.", "The {0} statement is used to {0} the execution.", "{0}"

Pair = tuple[Any, Any]


def calls(mask: str) -> list[tuple[Any, dict[str, Any]]]:
    one, two, alone = (text.format(mask) for text in (ONE, TWO, ALONE))
    inputs: list[Any] = [one, two, alone, [one], [two], [one, two, alone], f"Ça {mask}  👍", f"x{mask}y"]
    options: list[dict[str, Any]] = [
        {},
        {"top_k": 1},
        {"top_k": 3},
        {"targets": "end"},
        {"targets": ["end", "start", "the"]},
        {"targets": [" end", "end", "end", "qqqzzz"], "top_k": 2},
        {"targets": ["end"], "top_k": 9},
        {"tokenizer_kwargs": {"truncation": True}},
    ]
    return [(i, o) for i in inputs for o in options]


@pytest.fixture(scope="module")
def pair(text_bundles: TextBundles) -> Pair:
    return pipeline(TASK, text_bundles("fill-mask")), hf_pipeline(
        TASK, str(text_bundles.checkpoint("fill-mask")), device=-1
    )


@pytest.mark.filterwarnings("ignore:target")
@pytest.mark.parametrize(("inputs", "options"), calls("<mask>"), ids=str)
def test_answers(pair: Pair, inputs: Any, options: dict[str, Any]) -> None:
    ours, theirs = pair
    assert_same(ours(inputs, **options), theirs(inputs, **options))


@pytest.mark.parametrize("batch_size", [2, 3])
def test_batches(pair: Pair, batch_size: int) -> None:
    ours, theirs = pair
    texts = [text.format("<mask>") for text in (ONE, TWO, ALONE, ONE)]
    assert_same(ours(texts, batch_size=batch_size), theirs(texts))
    assert_same(list(ours(iter(texts), batch_size=batch_size)), theirs(texts))


def test_long_texts(pair: Pair) -> None:
    ours, theirs = pair
    text, cut = "<mask>" + " good" * 300, {"truncation": True}
    assert_same(ours(text, tokenizer_kwargs=cut), theirs(text, tokenizer_kwargs=cut))
    with pytest.raises(InputError, match="the model takes 128: pass tokenizer_kwargs"):
        ours(text)


@pytest.mark.filterwarnings("ignore:target")
def test_arguments_of_the_constructor(text_bundles: TextBundles) -> None:
    options = {"top_k": 2, "targets": ["end", "list", " of"]}
    ours, theirs = (
        pipeline(TASK, text_bundles("fill-mask"), **options),
        hf_pipeline(TASK, str(text_bundles.checkpoint("fill-mask")), device=-1, **options),
    )
    text = ONE.format("<mask>")
    assert_same(ours(text), theirs(text))
    assert_same(ours(text, top_k=1), theirs(text, top_k=1))


def test_a_text_without_a_mask(pair: Pair) -> None:
    with pytest.raises(PipelineException, match="no mask token in the text: put <mask> where"):
        pair[0]("no mask")
    with pytest.raises(PipelineException, match="item 1: no mask token"):
        pair[0]([ONE.format("<mask>"), "no mask"], batch_size=2)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (3, {}, "takes a text or a list of texts, not int"),
        ("<mask>", {"targets": []}, "at least one word"),
        ("<mask>", {"targets": 3}, "a word or a list of words"),
        ("<mask>", {"top_k": 0}, "top_k must be a positive integer"),
        ("<mask>", {"top_k": 10**6}, "the vocabulary has"),
        ("<mask>", {"tokenizer_kwargs": {"truncate": True}}, "did you mean 'truncation'"),
    ],
)
def test_what_is_refused(pair: Pair, inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair[0](inputs, **options)


def test_words_that_are_no_tokens_are_replaced_with_a_warning(pair: Pair) -> None:
    with pytest.warns(UserWarning, match="'qqqzzz' is not in the vocabulary: replacing it with"):
        pair[0]("<mask>", targets="qqqzzz")


@pytest.mark.filterwarnings("ignore:target")
@pytest.mark.parametrize("model_type", ["bert", "albert", "electra", "modernbert"])
def test_other_tokenizers(model_type: str, tmp_path: Path) -> None:
    folder = tiny_encoder("AutoModelForMaskedLM", model_type, tmp_path / "c")
    ours, theirs = torch_pipeline(TASK, folder, tmp_path / "b"), hf_pipeline(TASK, str(folder), device=-1)
    for inputs, options in calls("[MASK]"):
        assert_same(ours(inputs, **options), theirs(inputs, **options))
