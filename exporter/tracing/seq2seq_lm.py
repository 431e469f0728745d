"""Probes and traces an encoder–decoder, and says what the runtime must know to run it."""

from __future__ import annotations

from typing import Any

from exporter.tracing.captioner import steps_language_model, trace_captioner
from exporter.tracing.causal_lm import DTYPES, Traced, context_length
from exporter.tracing.seq2seq import encoder_sample, trace_seq2seq
from exporter.tracing.seq2seq_probe import probe_seq2seq
from exporter.tracing.seq2seq_steps import Inputs
from exporter.tracing.vision import fixed_size, sample_inputs
from runtime.bundle import CacheSpec, ImageSpec
from runtime.errors import ExportError


def trace_text_to_text(model: Any, input_names: list[str], opset: int, max_length: int | None = None) -> Traced:
    """Encoder and decoder graphs of a model that reads text. input_names: what its tokenizer gives."""
    return trace_seq2seq_lm(model, encoder_sample(model, input_names), opset, max_length)


def trace_image_to_text(model: Any, image: ImageSpec, opset: int, max_length: int | None = None) -> Traced:
    """The graphs of a model that reads images of one size: encoder and decoder, or steps of a language model."""
    size = fixed_size(image)
    if size is None:
        raise ExportError("captioning of images of any size is not supported yet: its processor must fix the size")
    inputs = sample_inputs(model, ["pixel_values"], size)
    if steps_language_model(model):
        return trace_captioner(model, inputs["pixel_values"], opset, max_length)
    return trace_seq2seq_lm(model, inputs, opset, max_length)


def trace_seq2seq_lm(model: Any, inputs: Inputs, opset: int, max_length: int | None = None) -> Traced:
    """Encoder and decoder graphs. inputs: a sample for the encoder.

    max_length: most tokens of an answer that the bundle promises. Raises `ExportError` where the operators do not fit.
    """
    probe = probe_seq2seq(model, inputs)
    if probe.reason:
        raise ExportError(f"{type(model).__name__} cannot be exported as an encoder–decoder yet: {probe.reason}")
    shape = probe.shape
    cache = CacheSpec(
        "slots",
        context_length(model, max_length),
        DTYPES[model.dtype],
        layers=shape.own,
        cross=shape.cross,
        lockstep=shape.lockstep,
    )
    graphs = trace_seq2seq(model, inputs, shape, opset)
    return Traced(graphs, "emission", "attention is GroupQueryAttention and MultiHeadAttention everywhere", cache)
