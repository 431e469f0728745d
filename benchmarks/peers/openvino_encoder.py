"""OpenVINO's encoders through optimum-intel and NNCF: f32, 8-bit weights, and int8 calibrated with NNCF's defaults."""

from __future__ import annotations

from typing import Any

from benchmarks.encoder_protocol import feeds, timed
from benchmarks.peers.checkpoint import for_old_transformers

SAMPLES = 100


def prepare(checkpoint: str, output: str, precision: str) -> dict[str, float]:
    """precision: "fp32", "int8-weights" or "int8" (weights and activations, calibrated on random ids)."""
    from optimum.intel import OVModelForSequenceClassification, OVWeightQuantizationConfig

    options: dict[str, Any] = {"load_in_8bit": False}
    if precision == "int8-weights":
        options = {"quantization_config": OVWeightQuantizationConfig(bits=8)}
    source = for_old_transformers(checkpoint, output)
    model = OVModelForSequenceClassification.from_pretrained(source, export=True, compile=False, **options)
    if precision == "int8":
        import nncf

        samples = nncf.Dataset([feeds(1, seed) for seed in range(SAMPLES)])
        model.model = nncf.quantize(model.model, samples, model_type=nncf.ModelType.TRANSFORMER)
    model.save_pretrained(output)
    return {}


def encode(model: str, precision: str) -> dict[str, float]:
    """f32 is asked for where nothing else was: on this kind of CPU bf16 is the default."""
    from optimum.intel import OVModelForSequenceClassification

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    loaded = OVModelForSequenceClassification.from_pretrained(model, ov_config=config)
    return timed(lambda inputs: loaded(**inputs))
