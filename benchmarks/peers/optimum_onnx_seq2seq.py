"""optimum-onnx's encoder–decoders."""

from __future__ import annotations

from benchmarks.peers.checkpoint import for_old_transformers
from benchmarks.seq2seq import generate_with


def prepare(checkpoint: str, output: str, precision: str) -> dict[str, float]:
    """Export with past, merged as it does by default. precision: "fp32"."""
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    ORTModelForSeq2SeqLM.from_pretrained(for_old_transformers(checkpoint, output), export=True).save_pretrained(output)
    return {}


def answer(model: str, beams: int) -> dict[str, float]:
    """transformers' `generate()` around ONNX Runtime with IO binding."""
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    return generate_with(ORTModelForSeq2SeqLM.from_pretrained(model, use_io_binding=True), beams)
