"""Probes and traces an encoder–decoder, and says what the runtime must know to run it."""

from __future__ import annotations

from typing import Any

from exporter.tracing.causal_lm import DTYPES, Traced, context_length
from exporter.tracing.seq2seq import probe_seq2seq, trace_seq2seq
from runtime.bundle import CacheSpec
from runtime.errors import ExportError


def trace_seq2seq_lm(model: Any, input_names: list[str], opset: int, max_length: int | None = None) -> Traced:
    """Encoder and decoder graphs. input_names: what the tokenizer gives.

    max_length: most tokens of an answer that the bundle promises. Raises `ExportError` where the operators do not fit.
    """
    probe = probe_seq2seq(model, input_names)
    if probe.reason:
        raise ExportError(f"{type(model).__name__} cannot be exported as an encoder–decoder yet: {probe.reason}")
    shape = probe.shape
    graphs = trace_seq2seq(model, input_names, shape, opset)
    cache = CacheSpec(
        "slots",
        context_length(model, max_length),
        DTYPES[model.dtype],
        layers=shape.own,
        cross=shape.cross,
        lockstep=shape.lockstep,
    )
    return Traced(graphs, "emission", "attention is GroupQueryAttention and MultiHeadAttention everywhere", cache)
