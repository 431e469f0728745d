"""OpenVINO through optimum-intel, as Intel's documentation has it."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.checkpoint import for_old_transformers
from benchmarks.peers.optimum_onnx import generate_with

BITS = {"int8": 8, "int4": 4}


def prepare(checkpoint: str, output: str, precision: str) -> dict[str, float]:
    """Export a stateful model. precision: "fp32", "int8" or "int4" (weights; NNCF's defaults)."""
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    options: dict[str, Any] = {"load_in_8bit": False}
    if precision in BITS:
        options = {"quantization_config": OVWeightQuantizationConfig(bits=BITS[precision])}
    source = for_old_transformers(checkpoint, output)
    OVModelForCausalLM.from_pretrained(source, export=True, compile=False, **options).save_pretrained(output)
    return {}


def decode(model: str, prompt: int, new: int, batch: int, precision: str) -> dict[str, float]:
    """transformers' `generate()` around OpenVINO. fp32 is asked for: on this kind of CPU bf16 is the default."""
    from optimum.intel import OVModelForCausalLM

    config = {"PERFORMANCE_HINT": "LATENCY"} | ({"INFERENCE_PRECISION_HINT": "f32"} if precision == "fp32" else {})
    return generate_with(OVModelForCausalLM.from_pretrained(model, ov_config=config), prompt, new, batch)
