"""zero-shot-classification against `transformers.pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline as hf_pipeline

from runtime import pipeline
from tests.checkpoints.encoders import NLI_LABELS, labelled, tiny_encoder
from tests.parity.answers import assert_same
from tests.text_bundles import TextBundles
from tests.torch_pipelines import torch_pipeline

TASK = "zero-shot-classification"
TEXTS = ["The food was cold.", "Ça 👍", "The waiter was rude, and we shall never come back. " * 12]
LABELS: list[Any] = [["sport", "politics", "health"], "sport, politics ,health,", ["sport"], "sport", ["a", "a", "b"]]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"multi_label": True},
    {"hypothesis_template": "It is about {}!"},
    {"batch_size": 2},
]

Pair = tuple[Any, Any]


@pytest.fixture(scope="module")
def pair(text_bundles: TextBundles) -> Pair:
    bundle = text_bundles("nli")
    return pipeline(TASK, bundle), hf_pipeline(TASK, str(text_bundles.checkpoint("nli")), device=-1)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_answers(pair: Pair, labels: Any, options: dict[str, Any]) -> None:
    """A list of one text stays a list; a long text is cut, never the hypothesis."""
    ours, theirs = pair
    for inputs in (TEXTS[0], [TEXTS[0]], TEXTS):
        expected = theirs(inputs, candidate_labels=labels, **options)
        assert_same(ours(inputs, candidate_labels=labels, **options), expected)


def test_labels_by_position_and_in_the_constructor(text_bundles: TextBundles, pair: Pair) -> None:
    ours, theirs = pair
    assert_same(ours(TEXTS[0], ["a", "b"]), theirs(TEXTS[0], ["a", "b"]))
    made = pipeline(TASK, text_bundles("nli"), candidate_labels="a, b", multi_label=True)
    assert_same(made(TEXTS), theirs(TEXTS, candidate_labels=["a", "b"], multi_label=True))
    assert_same(list(made(iter(TEXTS), batch_size=3)), made(TEXTS))


def test_a_bundle_of_this_task_classifies_texts_too(text_bundles: TextBundles) -> None:
    """And the other way round: the registry says which bundles a pipeline runs on."""
    answer = pipeline("text-classification", text_bundles("nli"))(TEXTS[0], top_k=None)
    assert {record["label"] for record in answer} == set(NLI_LABELS)
    with pytest.raises(ValueError, match="was exported for zero-shot-classification, not for ner"):
        pipeline("ner", text_bundles("nli"))


def test_a_classifier_without_entailment(classifier_bundle: Path, classifier_checkpoint: Path) -> None:
    """It runs, as in HF: the last label is taken, with a warning."""
    with pytest.warns(UserWarning, match=r"none of this model's labels \(NEGATIVE, POSITIVE\) begins with 'entail'"):
        ours = pipeline(TASK, classifier_bundle)
    theirs = hf_pipeline(TASK, str(classifier_checkpoint), device=-1)
    for options in ({}, {"multi_label": True}):
        assert_same(ours(TEXTS, ["a", "b"], **options), theirs(TEXTS, ["a", "b"], **options))


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (TEXTS[0], {}, "at least one label and at least one text"),
        ("", {"candidate_labels": "a"}, "at least one label and at least one text"),
        ([], {"candidate_labels": "a"}, "at least one label and at least one text"),
        (TEXTS[0], {"candidate_labels": []}, "is a list of texts, or one text with commas"),
        (TEXTS[0], {"candidate_labels": " , "}, "is a list of texts"),
        (TEXTS[0], {"candidate_labels": [1]}, "is a list of texts"),
        (TEXTS[0], {"candidate_labels": "a", "hypothesis_template": "x"}, "has no {} for the label"),
        (TEXTS[0], {"candidate_labels": "a", "hypothesis_template": "{} {}"}, "cannot be filled in"),
        (TEXTS[0], {"candidate_labels": "a", "hypothesis_template": 3}, "is a text with {}"),
        ([TEXTS[0], 3], {"candidate_labels": "a", "batch_size": 2}, "item 1: zero-shot-classification takes a text"),
        (TEXTS[0], {"candidate_labels": ["good " * 150]}, "the model takes 128: shorten it, or the labels"),
    ],
)
def test_what_is_refused(pair: Pair, inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair[0](inputs, **options)


@pytest.mark.parametrize("labels", [NLI_LABELS, ["entailment", "neutral", "contradiction"]], ids=["last", "first"])
@pytest.mark.parametrize("model_type", ["roberta", "deberta-v2"])
def test_other_models(model_type: str, labels: list[str], tmp_path: Path) -> None:
    folder = tiny_encoder("AutoModelForSequenceClassification", model_type, tmp_path / "c", **labelled(labels))
    ours, theirs = torch_pipeline(TASK, folder, tmp_path / "b"), hf_pipeline(TASK, str(folder), device=-1)
    for options in OPTIONS:
        assert_same(ours(TEXTS, ["a", "b", "c"], **options), theirs(TEXTS, ["a", "b", "c"], **options))


def test_only_models_with_entailment_are_exported(tmp_path: Path) -> None:
    from exporter.loading import load_checkpoint, load_config
    from exporter.source import resolve_source
    from exporter.tasks import resolve_task
    from exporter.validation.zero_shot_classification import record
    from runtime.errors import ExportError

    source = resolve_source(str(tiny_encoder("AutoModelForSequenceClassification", "bert", tmp_path / "c")))
    checkpoint = load_checkpoint(source, resolve_task(TASK, load_config(source), source))
    with pytest.raises(ExportError, match="none begins with 'entail'"):
        record(checkpoint)
