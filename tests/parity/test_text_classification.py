"""text-classification against `transformers.pipeline`: every form of input, every nesting of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers import pipeline as hf_pipeline
from transformers.pipelines.pt_utils import KeyDataset
from transformers.pipelines.text_classification import ClassificationFunction

from runtime import pipeline
from runtime.errors import InputError
from tests.checkpoints.builders import tiny_classifier

TASK = "text-classification"
TOLERANCE = 1e-4
SHORT, LONG = "I love this!", "The food was cold and the waiter was rude, so we shall never come back. " * 3
TEXTS = [SHORT, "This film was terrible.", LONG, "Not bad at all", "", "Ça m'a plu 👍", "a"]
PAIR = {"text": "We are very happy to show you this library.", "text_pair": "I hate waiting in line."}
TOO_LONG = "good " * 500

Make = Callable[..., tuple[Any, Any]]


def make(bundle: Path, checkpoint: Path, **kwargs: Any) -> tuple[Any, Any]:
    """The pipelines of both sides, made with the same arguments."""
    return pipeline(TASK, bundle, **kwargs), hf_pipeline(TASK, str(checkpoint), device=-1, **kwargs)


@pytest.fixture(scope="module")
def make_pair(classifier_bundle: Path, classifier_checkpoint: Path) -> Make:
    return partial(make, classifier_bundle, classifier_checkpoint)


@pytest.fixture(scope="module")
def pair(make_pair: Make) -> tuple[Any, Any]:
    """(ours, HF's), made without arguments."""
    return make_pair()


def assert_same(found: Any, expected: Any) -> None:
    """Same nesting, keys in the same order, labels, types; scores within the tolerance."""
    assert type(found) is type(expected), (found, expected)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
        return
    assert list(found) == list(expected) == ["label", "score"]
    assert found["label"] == expected["label"]
    assert type(found["score"]) is float
    assert found["score"] == pytest.approx(expected["score"], abs=TOLERANCE)


INPUTS = {
    "text": SHORT,
    "empty text": "",
    "list": TEXTS,
    "list of one": [SHORT],
    "pair": PAIR,
    "text in a dict": {"text": SHORT},
    "list of pairs": [PAIR, {"text": SHORT, "text_pair": ""}, {"text": SHORT}],
    "pair in lists": [[[SHORT, LONG]]],
    "pairs in lists": [[[SHORT, LONG]], [["a", "b"]]],
}
OPTIONS: list[dict[str, Any]] = [{}, {"top_k": None}, {"top_k": 1}, {"top_k": 2}, {"top_k": 9}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_every_form_of_input(pair: tuple[Any, Any], inputs: Any, options: dict[str, Any]) -> None:
    ours, theirs = pair
    assert_same(ours(inputs, **options), theirs(inputs, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_arguments_of_the_constructor(make_pair: Make, options: dict[str, Any]) -> None:
    """They change the nesting in their own way: a text with top_k=None comes back in two lists."""
    ours, theirs = make_pair(**options)
    for inputs in (SHORT, [SHORT], TEXTS, PAIR, [PAIR]):
        assert_same(ours(inputs), theirs(inputs))
        assert_same(ours(inputs, top_k=2), theirs(inputs, top_k=2))


@pytest.mark.parametrize("function", ["sigmoid", "softmax", "none", "SoftMax", *ClassificationFunction])
def test_function_to_apply(make_pair: Make, pair: tuple[Any, Any], function: Any) -> None:
    """By name in any case, or HF's enum; in the call, or in the constructor."""
    ours, theirs = pair
    for inputs in (SHORT, TEXTS):
        expected = theirs(inputs, function_to_apply=function, top_k=None)
        assert_same(ours(inputs, function_to_apply=function, top_k=None), expected)
    ours, theirs = make_pair(function_to_apply=function)
    assert_same(ours(TEXTS), theirs(TEXTS))


def test_unknown_function_is_refused(pair: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="function_to_apply 'argmax' is unknown: use one of sigmoid, softmax, none"):
        pair[0](SHORT, function_to_apply="argmax")


@pytest.mark.parametrize("batch_size", [1, 2, 5, 50])
def test_batches_answer_as_single_texts_do(pair: tuple[Any, Any], batch_size: int) -> None:
    ours, theirs = pair
    alone = [theirs(text)[0] for text in TEXTS]
    assert_same(ours(TEXTS, batch_size=batch_size), alone)
    assert_same(ours(TEXTS, batch_size=batch_size), theirs(TEXTS, batch_size=batch_size))


def test_batch_size_of_the_constructor(make_pair: Make) -> None:
    ours, theirs = make_pair(batch_size=3, num_workers=0)
    sizes: list[int] = []
    run = ours._forward_batch
    ours._forward_batch = lambda items, **kwargs: sizes.append(len(items)) or run(items, **kwargs)
    assert_same(ours(TEXTS), theirs(TEXTS))
    assert sizes == [3, 3], "seven texts: two batches of three; the last text runs alone"


def texts_with_marks(marks: list[str]) -> Iterator[str]:
    for text in TEXTS:
        marks.append(text)
        yield text


@pytest.mark.parametrize("batch_size", [1, 2])
def test_generators_are_lazy(pair: tuple[Any, Any], batch_size: int) -> None:
    """Nothing is read before it is asked for, and no more than the batch under way."""
    ours, theirs = pair
    read: list[str] = []
    answers = ours(texts_with_marks(read), batch_size=batch_size)
    assert not read
    assert iter(answers) is not None and not isinstance(answers, list)
    first = next(answers)
    assert len(read) == batch_size
    assert_same([first, *answers], list(theirs(text for text in TEXTS)))
    with pytest.raises(TypeError):
        len(answers)


def test_datasets(pair: tuple[Any, Any]) -> None:
    """HF's `KeyDataset` over a `datasets.Dataset`: an iterator with a length. Plain columns work here too."""
    ours, theirs = pair
    dataset = Dataset.from_dict({"text": TEXTS, "other": list(range(len(TEXTS)))})
    expected = list(theirs(KeyDataset(dataset, "text"), batch_size=2))
    found = ours(KeyDataset(dataset, "text"), batch_size=2)
    assert len(found) == len(TEXTS)
    assert_same(list(found), expected)
    assert_same(list(ours(dataset["text"])), expected)


def test_dataset_of_pairs(pair: tuple[Any, Any]) -> None:
    """A dataset whose rows are `{"text", "text_pair"}`."""
    ours, theirs = pair
    rows = [PAIR, {"text": SHORT, "text_pair": LONG}]
    assert_same(list(ours(Dataset.from_list(rows))), theirs(rows))


@pytest.mark.parametrize(
    "options",
    [{"truncation": True}, {"truncation": True, "max_length": 7}, {"max_length": 9}, {"truncation": "only_first"}],
    ids=str,
)
def test_tokenizer_arguments(make_pair: Make, pair: tuple[Any, Any], options: dict[str, Any]) -> None:
    """In the call and in the constructor, for single texts, batches and pairs."""
    ours, theirs = pair
    made, hf_made = make_pair(**options)
    for inputs in (TOO_LONG, [TOO_LONG, SHORT], {"text": TOO_LONG, "text_pair": "a"}):
        expected = theirs(inputs, **options)
        assert_same(ours(inputs, **options), expected)
        assert_same(made(inputs), expected)
    assert_same(made([TOO_LONG, SHORT], batch_size=2), hf_made([TOO_LONG, SHORT], batch_size=2))


def test_padding_to_a_length_changes_nothing(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    options = {"padding": "max_length", "max_length": 32, "truncation": True}
    assert_same(ours([SHORT, LONG], **options), theirs([SHORT, LONG], **options))


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "tuple": ((SHORT, LONG), {}, "not tuple"),
    "pair in one list": ([[SHORT, LONG]], {}, "not list"),
    "number": (3, {}, "not int"),
    "none": (None, {}, "not NoneType"),
    "array": (np.array([SHORT, LONG]), {}, "not ndarray"),
    "dict without text": ({"sentence": SHORT}, {}, "a text pair is"),
    "too long": (TOO_LONG, {}, "the text has 502 tokens, the model takes 128: pass truncation=True"),
    "unknown argument": (SHORT, {"truncate": True}, "unknown argument 'truncate': did you mean 'truncation'?"),
    "batch size": ([SHORT], {"batch_size": 0}, "batch_size must be a positive integer, not 0"),
    "in a batch": ([SHORT, 3], {"batch_size": 2}, "item 1: text-classification takes a text"),
}


@pytest.mark.parametrize(("inputs", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(pair: tuple[Any, Any], inputs: Any, options: dict[str, Any], message: str) -> None:
    """One line that is also a `ValueError`, as in HF."""
    with pytest.raises(ValueError) as caught:
        pair[0](inputs, **options)
    assert isinstance(caught.value, InputError)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_list_has_no_answers(pair: tuple[Any, Any]) -> None:
    """HF 5.23 has an IndexError there."""
    assert pair[0]([]) == []
    assert list(pair[0](text for text in [])) == []


@pytest.mark.parametrize("inputs", [SHORT, LONG, PAIR], ids=["short", "long", "pair"])
def test_the_steps_one_by_one(pair: tuple[Any, Any], inputs: Any) -> None:
    ours, theirs = pair
    prepared, hf_prepared = ours.preprocess(inputs), theirs.preprocess(inputs)
    assert prepared.keys() == hf_prepared.keys()
    for name, tensor in hf_prepared.items():
        assert prepared[name].dtype == np.int64
        np.testing.assert_array_equal(prepared[name], tensor.numpy())
    outputs, hf_outputs = ours.forward(prepared), theirs.forward(hf_prepared)
    assert outputs["logits"].dtype == np.float32
    np.testing.assert_allclose(outputs["logits"], hf_outputs["logits"].numpy(), atol=1e-4)
    assert_same(ours.postprocess(outputs), theirs.postprocess(hf_outputs))
    assert_same([ours.postprocess(outputs)], [ours(inputs)[0] if isinstance(inputs, str) else ours(inputs)])
    assert_same(ours.postprocess(outputs, top_k=None, _legacy=False), theirs(inputs, top_k=None))


def test_alias(classifier_bundle: Path) -> None:
    assert pipeline("sentiment-analysis", classifier_bundle).task == TASK
    assert pipeline(model=classifier_bundle)(SHORT)[0]["label"] == "POSITIVE"
    with pytest.raises(ValueError, match="was exported for text-classification, not for text-generation"):
        pipeline("text-generation", classifier_bundle)


# ---- heads that apply another function by default


HEADS: dict[str, dict[str, Any]] = {
    "regression": {"num_labels": 1, "problem_type": "regression"},
    "single label": {"num_labels": 1},
    "multi label": {"num_labels": 4, "problem_type": "multi_label_classification"},
}


@pytest.fixture(scope="module", params=HEADS)
def head(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """(ours, HF's) for one kind of head."""
    from exporter import export

    folder = tmp_path_factory.mktemp("head")
    checkpoint = tiny_classifier("distilbert", folder / "checkpoint", **HEADS[request.param])
    return make(export(checkpoint, task=TASK, output=folder / "repository", name="head"), checkpoint)


@pytest.mark.parametrize("options", [{}, {"top_k": None}, {"top_k": 1}, {"function_to_apply": "none"}], ids=str)
def test_other_heads(head: tuple[Any, Any], options: dict[str, Any]) -> None:
    """Regression leaves the logit as it is, one label and several labels at once take the sigmoid."""
    ours, theirs = head
    for inputs in (SHORT, TEXTS, PAIR):
        assert_same(ours(inputs, **options), theirs(inputs, **options))


def test_other_heads_in_batches(head: tuple[Any, Any]) -> None:
    ours, theirs = head
    assert_same(ours(TEXTS, batch_size=3, top_k=None), theirs(TEXTS, top_k=None))


def test_scores_are_those_of_the_model_itself(pair: tuple[Any, Any], classifier_checkpoint: Path) -> None:
    """Not only HF's pipeline: the softmax of the model's own logits."""
    model = AutoModelForSequenceClassification.from_pretrained(classifier_checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(classifier_checkpoint)
    with torch.no_grad():
        logits = model(**tokenizer(LONG, return_tensors="pt", truncation=True)).logits[0]
    expected = {model.config.id2label[i]: p for i, p in enumerate(torch.softmax(logits, -1).tolist())}
    found = {item["label"]: item["score"] for item in pair[0](LONG, top_k=None, truncation=True)}
    assert found == pytest.approx(expected, abs=TOLERANCE)
