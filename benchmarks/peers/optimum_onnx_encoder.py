"""optimum-onnx's encoders: its O2 optimisation, and its int8 preset for CPUs with VNNI."""

from __future__ import annotations

from benchmarks.encoder_protocol import timed
from benchmarks.peers.checkpoint import for_old_transformers


def prepare(checkpoint: str, output: str, precision: str) -> dict[str, float]:
    """precision: "fp32" (exported and optimised, O2) or "int8" (exported, quantised with `avx512_vnni`, dynamic)."""
    from optimum.onnxruntime import (
        AutoOptimizationConfig,
        ORTModelForSequenceClassification,
        ORTOptimizer,
        ORTQuantizer,
    )
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    exported = ORTModelForSequenceClassification.from_pretrained(for_old_transformers(checkpoint, output), export=True)
    if precision == "fp32":
        ORTOptimizer.from_pretrained(exported).optimize(
            save_dir=output, optimization_config=AutoOptimizationConfig.O2()
        )
        return {}
    exported.save_pretrained(f"{output}-fp32")
    config = AutoQuantizationConfig.avx512_vnni(is_static=False)
    ORTQuantizer.from_pretrained(f"{output}-fp32").quantize(save_dir=output, quantization_config=config)
    return {}


def encode(model: str, precision: str) -> dict[str, float]:
    """Numpy in, numpy out, as `ORTModel` takes it too."""
    from optimum.onnxruntime import ORTModelForSequenceClassification

    file = "model_optimized.onnx" if precision == "fp32" else "model_quantized.onnx"
    loaded = ORTModelForSequenceClassification.from_pretrained(model, file_name=file)
    return timed(lambda inputs: loaded(**inputs))
