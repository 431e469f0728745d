"""Encoders: one graph from token ids to logits.

Emission puts a MultiHeadAttention into every layer, with the padding mask or, where attention is causal or within a
window, with a mask of all pairs of positions; where the probe says that this would change the answer (own attention
code), the model is traced as it is ("plain").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from exporter.tracing.adapter import TraceRequest, trace
from exporter.tracing.attention import attention_implementation
from exporter.tracing.attention_context import Context, attention_context
from exporter.tracing.causal_lm import Traced
from exporter.tracing.probe import probe_encoder

# The model outputs that become graph outputs, with the names of their free dimensions.
Outputs = Sequence[tuple[str, Sequence[str | None]]]
AUTO = torch.export.Dim.AUTO
# Different from each other and from likely constants of a model; the second row is padded.
BATCH, LENGTH, PADDED = 3, 11, 4


class EncoderStep(torch.nn.Module):  # type: ignore[misc]
    """Token ids or pixel values, masks, types -> the outputs of the task, as float32.

    Pixel values come as float32 whatever the model's dtype.
    """

    def __init__(self, model: Any, names: list[str], outputs: list[str], emit: bool) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.outputs = outputs
        self.emit = emit

    def forward(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        inputs = typed(self.model, dict(zip(self.names, tensors, strict=True)))
        with attention_context(Context(emit=self.emit)):
            output = self.model(**inputs, **no_cache(self.model))
        return [output[name].to(torch.float32) for name in self.outputs]


def typed(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floating-point inputs in the model's dtype."""
    return {name: value.to(model.dtype) if value.is_floating_point() else value for name, value in inputs.items()}


def trace_encoder(model: Any, input_names: list[str], outputs: Outputs, opset: int) -> Traced:
    """Trace an encoder.

    input_names: what its tokenizer gives (`input_ids`, `attention_mask`, ...). outputs: of the model, by name, with
    the names of their free dimensions.
    """
    inputs = sample_inputs(model, input_names)
    probe = probe_encoder(model, {**inputs, **no_cache(model)}, outputs[0][0])
    if not probe.fits:
        graph = trace(encoder_request(model, inputs, outputs, opset, emit=False))
        return Traced({"model": graph}, "plain", probe.reason)
    with attention_implementation(model, probe.implementation):
        graph = trace(encoder_request(model, inputs, outputs, opset, emit=True))
    return Traced({"model": graph}, "emission", "every layer's attention is MultiHeadAttention")


def encoder_request(
    model: Any, inputs: dict[str, torch.Tensor], outputs: Outputs, opset: int, emit: bool
) -> TraceRequest:
    """Batch and sequence are free."""
    names, output_names = list(inputs), [name for name, _ in outputs]
    return TraceRequest(
        module=EncoderStep(model, names, output_names, emit).eval(),
        kwargs={"tensors": list(inputs.values())},
        dims={"tensors": [{0: AUTO, 1: AUTO}] * len(names)},
        input_names=names,
        input_dims=[["batch", "sequence"]] * len(names),
        output_names=output_names,
        output_dims=[dims for _, dims in outputs],
        opset=opset,
        caches_of=model,
    )


def sample_inputs(model: Any, names: list[str]) -> dict[str, torch.Tensor]:
    """int64 `[BATCH, LENGTH]`: random ids, one row padded at its end with the pad token."""
    config = model.config.get_text_config()
    generator = torch.Generator().manual_seed(0)
    pad = config.pad_token_id if config.pad_token_id is not None else 0
    ids = torch.randint(0, config.vocab_size, (BATCH, LENGTH), generator=generator)
    ids[ids == pad] = (pad + 1) % config.vocab_size
    mask = torch.ones_like(ids)
    ids[1, LENGTH - PADDED :], mask[1, LENGTH - PADDED :] = pad, 0
    known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return {name: known[name].to(model.device) for name in names}


def no_cache(model: Any) -> dict[str, bool]:
    """Decoders used as classifiers must not return a cache."""
    return {"use_cache": False} if getattr(model.config, "use_cache", None) is not None else {}
