"""Encoders with causal attention or windows: one MultiHeadAttention a layer, and the model's own answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from exporter.passes.optimise import optimise
from exporter.tracing.encoder import trace_encoder
from tests.checkpoints.rows import CLASSIFIER_ROWS
from tests.unit.exporter.graphs import run

OPSET, PAD, VOCABULARY, LAYERS = 18, 0, 160, 2
OUTPUTS = [("logits", ("batch", None))]
# tokens of each row, which side is padded
BATCHES = {"longer than any window": ([40, 23, 9], "right"), "left": ([12, 31], "left"), "one token": ([1], "right")}


def classifier(model_type: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    row = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "num_labels": 3} | CLASSIFIER_ROWS[model_type] | changes
    config = AutoConfig.for_model(model_type, **row)
    return AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()


def batch(lengths: list[int], side: str) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    ids, mask = (np.zeros((len(lengths), max(lengths)), np.int64) for _ in range(2))
    for row, length in enumerate(lengths):
        place = slice(0, length) if side == "right" else slice(max(lengths) - length, None)
        ids[row, place], mask[row, place] = generator.integers(1, VOCABULARY, length), 1
    return {"input_ids": ids, "attention_mask": mask}


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "causal": ("gpt2", {}),
    "causal, shared heads, rotary": ("llama", {}),
    "windows in both directions": ("modernbert", {}),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def exported(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A model and its graph."""
    model_type, changes = request.param
    model = classifier(model_type, **changes)
    traced = trace_encoder(model, ["input_ids", "attention_mask"], OUTPUTS, OPSET)
    assert traced.path == "emission", traced.reason
    optimise(traced.graphs)
    return model, traced.graphs["model"]


def test_one_operator_a_layer(exported: tuple[Any, Any]) -> None:
    operators = [node.op_type for node in exported[1].graph]
    assert operators.count("MultiHeadAttention") == LAYERS
    assert "Softmax" not in operators


@pytest.mark.parametrize(("lengths", "side"), BATCHES.values(), ids=BATCHES)
def test_the_models_own_answers(exported: tuple[Any, Any], lengths: list[int], side: str) -> None:
    model, graph = exported
    feeds = batch(lengths, side)
    with torch.no_grad():
        expected = model(**{name: torch.from_numpy(array) for name, array in feeds.items()}).logits.numpy()
    [found] = run(graph, **feeds)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_what_the_operator_lacks_is_not_emitted() -> None:
    """Scores that are capped: the operator would not."""
    torch.manual_seed(0)
    row = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "num_labels": 3, "hidden_size": 64, "num_hidden_layers": 2}
    row |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128}
    config = AutoConfig.for_model("gemma2", **row, attn_logit_softcapping=2.0, sliding_window=8)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    traced = trace_encoder(model, ["input_ids", "attention_mask"], OUTPUTS, OPSET)
    assert traced.path == "plain"
    assert "softcap" in traced.reason
