"""Fusions: what tiny models' graphs end up with, counted; and where a rotation must stay in the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from exporter.passes.optimise import optimise
from exporter.tracing.causal_lm import probe_ids, trace_causal_lm
from exporter.tracing.probe import probe_decoder
from runtime.bundle import open_bundle
from tests.checkpoints.rows import CAUSAL_ROWS

LAYERS = 2
OPSET = 18


def random_model(model_type: str, **changes: Any) -> Any:
    """A small causal LM in memory."""
    torch.manual_seed(0)
    row = {"vocab_size": 160, "pad_token_id": 0} | CAUSAL_ROWS.get(model_type, CAUSAL_ROWS["llama"]) | changes
    config = AutoConfig.for_model(model_type, **row)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def rotation_of(model: Any, max_length: int = 128) -> Any:
    """The one rotation that the probe found, None without."""
    probe = probe_decoder(model, probe_ids(model), max_length)
    assert probe.fits, probe.reason
    return next(iter(probe.rotary.rotations.values())) if probe.rotary is not None else None


def test_counts_of_gpt2(causal_lm_bundle: Path) -> None:
    graph = open_bundle(causal_lm_bundle).manifest.graphs["model"]
    layers = graph.nodes["GroupQueryAttention"]
    assert graph.fusions["packed query, key and value"] == graph.fusions["FastGelu"] == layers
    assert "rotary in attention" not in graph.fusions
    # In a layer: four products with a bias each, two residuals; FastGelu gets its bias when it is loaded.
    assert graph.nodes["MatMul"] == 4 * layers
    assert graph.nodes["GatherND"] == 2  # in front of the last layer's feed-forward part, not of the head
    assert graph.nodes["Add"] == 6 * layers + 1
    assert not {"Split", "Transpose", "Pow", "Tanh", "Slice"} & graph.nodes.keys()
    assert graph.nodes["Reshape"] <= 3


def test_counts_of_bert(classifier_bundle: Path) -> None:
    graph = open_bundle(classifier_bundle).manifest.graphs["model"]
    layers = graph.nodes["MultiHeadAttention"]
    assert graph.fusions["bias in attention"] == graph.fusions["Gelu"] == layers
    assert graph.nodes["MatMul"] == 6 * layers
    # The last layer's queries, its output and its feed-forward part serve the first token alone.
    assert graph.fusions["products of the rows that are read"] == 4
    assert not {"Reshape", "Transpose", "Erf", "Pow", "Concat"} & graph.nodes.keys()


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_counts_of_rotary_decoders(model_type: str) -> None:
    graphs = trace_causal_lm(random_model(model_type), OPSET).graphs
    fusions = optimise(graphs)["model"]
    assert fusions == {
        "GroupQueryAttention": LAYERS,
        "rotary in attention": LAYERS,
        "packed query, key and value": LAYERS,
        "SimplifiedLayerNormalization": 2 * LAYERS + 1,
        "QuickGelu": LAYERS,
        "products of the rows that are read": 4,  # behind the last layer's attention
    }
    operators = [node.op_type for node in graphs["model"].graph]
    assert operators.count("MatMul") == 5 * LAYERS + 1
    assert not {"Reshape", "Transpose", "Slice", "Concat", "Cos", "Sin", "Pow", "Split"} & set(operators)


# ---- which rotations attention takes over

LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}


@pytest.mark.parametrize("parameters", [LINEAR, LLAMA3, YARN], ids=["linear", "llama3", "yarn"])
def test_rotation_by_position_is_taken_over(parameters: dict[str, Any]) -> None:
    rotation = rotation_of(random_model("llama", rope_parameters=parameters))
    assert rotation.cos.shape == (128, 8)
    assert not rotation.interleaved
    largest = float((rotation.cos.square() + rotation.sin.square()).max()) ** 0.5
    assert largest == pytest.approx(1.1386 if parameters is YARN else 1.0, abs=1e-3)  # YaRN: 0.1 ln 4 + 1


def test_rotation_by_length_stays_in_the_graph() -> None:
    """Dynamic NTK: beyond its first length all angles change; within, they follow from positions alone."""
    model = random_model("llama", rope_parameters=DYNAMIC, max_position_embeddings=64)
    assert rotation_of(model, max_length=64) is not None
    assert rotation_of(model, max_length=256) is None


def test_rotation_of_a_part_of_each_head() -> None:
    wide = {"hidden_size": 128, "intermediate_size": 128}
    rotation = rotation_of(random_model("phi", **wide))
    assert rotation.cos.shape == (128, 8)  # 16 of the 32 dimensions


def test_rotation_of_neighbours() -> None:
    rotation = rotation_of(random_model("cohere", eos_token_id=1, bos_token_id=2))
    assert rotation.interleaved


def test_no_rotation() -> None:
    assert rotation_of(random_model("gpt2")) is None


def test_rotation_too_narrow_for_the_operator() -> None:
    """The operator wants pairs in eights; a quarter of 16 dimensions are two."""
    assert rotation_of(random_model("gpt_neox")) is None
