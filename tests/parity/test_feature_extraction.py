"""feature-extraction against `transformers.pipeline`, padding of batches included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline as hf_pipeline

from runtime import pipeline
from tests.checkpoints.encoders import tiny_encoder
from tests.parity.answers import assert_same
from tests.text_bundles import TextBundles
from tests.torch_pipelines import torch_pipeline

TASK = "feature-extraction"
SHORT, LONG = "The food was cold.", "The waiter was rude, and we shall never come back. " * 3
TEXTS = [SHORT, LONG, "", "Ça 👍"]
CALLS: list[tuple[Any, dict[str, Any]]] = [
    (SHORT, {}),
    ([SHORT], {}),
    (TEXTS, {}),
    (TEXTS, {"batch_size": 2}),
    (TEXTS, {"batch_size": 4}),
    (LONG * 9, {"truncation": True}),
    (LONG, {"tokenize_kwargs": {"truncation": True, "max_length": 7}}),
]

Pair = tuple[Any, Any]


@pytest.fixture(scope="module")
def pair(text_bundles: TextBundles) -> Pair:
    bundle = text_bundles("features")
    return pipeline(TASK, bundle), hf_pipeline(TASK, str(text_bundles.checkpoint("features")), device=-1)


@pytest.mark.parametrize(("inputs", "options"), CALLS, ids=range(len(CALLS)))
def test_features(pair: Pair, inputs: Any, options: dict[str, Any]) -> None:
    ours, theirs = pair
    assert_same(ours(inputs, **options), theirs(inputs, **options))


def test_arrays(pair: Pair) -> None:
    """`return_tensors` gives numpy here."""
    ours, theirs = pair
    found = ours(SHORT, return_tensors=True)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_allclose(found, theirs(SHORT, return_tensors=True).numpy(), atol=1e-4)


def test_padding_stays_in_a_batch(pair: Pair) -> None:
    """HF's oddity: all rows of a batch are as long as the longest."""
    found = pair[0](TEXTS, batch_size=4, return_tensors=True)
    assert len({row.shape for row in found}) == 1
    assert len({row.shape for row in pair[0](TEXTS, return_tensors=True)}) > 1


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (3, {}, "takes a text or a list of texts, not int"),
        ([SHORT, 3], {"batch_size": 2}, "item 1: feature-extraction takes a text"),
        (SHORT, {"truncation": True, "tokenize_kwargs": {"truncation": True}}, "given twice"),
        (LONG * 9, {}, "the model takes 128: pass truncation=True"),
    ],
)
def test_what_is_refused(pair: Pair, inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair[0](inputs, **options)


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_other_models(model_type: str, tmp_path: Path) -> None:
    folder = tiny_encoder("AutoModel", model_type, tmp_path / "c")
    ours, theirs = torch_pipeline(TASK, folder, tmp_path / "b"), hf_pipeline(TASK, str(folder), device=-1)
    for inputs, options in CALLS:
        assert_same(ours(inputs, **options), theirs(inputs, **options))


def test_a_checkpoint_without_the_pooler_that_features_do_not_need(tmp_path: Path) -> None:
    """A masked language model has no pooler; hidden states do not depend on it, its word embeddings they do."""
    from exporter.loading import load_checkpoint, load_config
    from exporter.source import resolve_source
    from exporter.tasks import TASKS, resolve_task
    from runtime.errors import ExportError

    source = resolve_source(str(tiny_encoder("AutoModelForMaskedLM", "bert", tmp_path / "mlm")))
    assert load_checkpoint(source, TASKS[TASK]).model.pooler is not None
    with pytest.raises(ExportError, match=r"no weights for .*classifier.weight"):
        load_checkpoint(source, resolve_task("text-classification", load_config(source), source))
