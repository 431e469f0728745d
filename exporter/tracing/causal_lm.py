"""Chooses the path of a causal LM and traces it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx_ir
import torch

from exporter.tracing.decoder import trace_decoder
from exporter.tracing.fallback import trace_fallback
from exporter.tracing.probe import probe_decoder
from runtime.bundle import CacheSpec
from runtime.errors import ExportError

DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
PROBE_LENGTH = 24


@dataclass(frozen=True)
class Traced:
    """Graphs by name, the path they were made on and why, and what the runtime must know to run them.

    fusions: for each graph, how often each was made; empty before the passes. islands: modules that are float32 in a
    float16 model, and why.
    """

    graphs: dict[str, onnx_ir.Model]
    path: str
    reason: str
    cache: CacheSpec | None = None
    fusions: dict[str, dict[str, int]] = field(default_factory=dict)
    islands: dict[str, str] = field(default_factory=dict)


def trace_causal_lm(model: Any, opset: int, max_length: int | None = None) -> Traced:
    """Emission where the probe says that the operator fits, the fallback elsewhere.

    max_length: context that the bundle promises; the model's own by default, and never more.
    """
    length, dtype = context_length(model, max_length), DTYPES[model.dtype]
    probe = probe_decoder(model, probe_ids(model), length)
    if probe.fits:
        graph = trace_decoder(model, probe.calls, opset, probe.rotary)
        layers = [(call.kv_heads, call.head_dim) for call in probe.calls]
        reason = "every layer's attention is GroupQueryAttention"
        return Traced({"model": graph}, "emission", reason, CacheSpec("slots", length, dtype, layers))
    fallback = trace_fallback(model, opset)
    cache = CacheSpec("states", length, dtype, state_names=fallback.state_names, initial_states=fallback.initial_states)
    return Traced(fallback.graphs, "fallback", probe.reason, cache)


def probe_ids(model: Any) -> torch.Tensor:
    """Two rows of token ids that differ everywhere, `[2, PROBE_LENGTH]` or the context if that is shorter."""
    length = min(PROBE_LENGTH, context_length(model))
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, model.config.get_text_config().vocab_size, (2, length), generator=generator).to(
        model.device
    )


def context_length(model: Any, wanted: int | None = None) -> int:
    """Tokens a sequence may hold: the model's positions, capped by `wanted`. Raises `ExportError` when that is more."""
    config = model.config.get_text_config(decoder=True)
    own = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None) or UNLIMITED
    if wanted is None:
        return int(own)
    if not 1 < wanted <= own:
        raise ExportError(f"--max-length {wanted} is out of range: this model takes 2 to {own} tokens")
    return wanted


# For models without positions (recurrent ones, ALiBi): what transformers' configs usually train with.
UNLIMITED = 2048
