"""Do the emitted operators say what an encoder–decoder's three attentions say? Tried in plain torch on a sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from exporter.tracing.attention import SEQ2SEQ, attention_implementation
from exporter.tracing.attention_context import UnsupportedAttentionError
from exporter.tracing.decoder import BATCH, LENGTH
from exporter.tracing.encoder import typed
from exporter.tracing.probe import TOLERANCE
from exporter.tracing.seq2seq_cache import OwnCache
from exporter.tracing.seq2seq_steps import Inputs, decoder_mask, record_cross, run_decoder


@dataclass(frozen=True)
class Shape:
    """What the decoder's layers look like: (kv_heads, head_dim) of self- and cross-attention, and how rows step."""

    own: list[tuple[int, int]]
    cross: list[tuple[int, int]]
    lockstep: bool
    distance_bias: bool


@dataclass(frozen=True)
class Probe:
    """The verdict: `reason` is empty when the operators fit."""

    reason: str
    shape: Shape = field(default_factory=lambda: Shape([], [], False, False))


def probe_seq2seq(model: Any, inputs: Inputs) -> Probe:
    """Do the emitted operators say what the model's three attentions say? Compared in plain torch on a sample."""
    ids = torch.randint(1, vocab_size(model), (BATCH, LENGTH), generator=torch.Generator().manual_seed(1))
    ids = ids.to(model.device)
    try:
        with torch.no_grad():
            inputs = typed(model, inputs)
            expected = model(**inputs, decoder_input_ids=ids, **decoder_mask(ids), use_cache=False).logits
            with attention_implementation(model, SEQ2SEQ):
                cross = record_cross(model, inputs, emit=False).layers
                given = [(layer.keys, layer.values) for layer in cross if layer.keys is not None]
                mask = inputs.get("attention_mask", torch.ones(BATCH, given[0][0].shape[2], dtype=torch.long))
                found, own, together = try_decoder(model, ids, mask.to(model.device), given)
    except UnsupportedAttentionError as error:
        return Probe(str(error))
    except Exception as error:  # any model code may fail on a foreign cache: that is a verdict, not a crash
        return Probe(f"its code does not run with a foreign attention ({type(error).__name__}: {str(error)[:120]})")
    difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0))
    if not difference < TOLERANCE[model.dtype]:
        return Probe(f"its attention differs from the operators' (by {difference:.1e})")
    own_sizes, cross_sizes = sizes([layer[1] for layer in own.layers]), sizes([key for key, _ in given])
    return Probe("", Shape(own_sizes, cross_sizes, together, has_distance_bias(model)))


def try_decoder(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, cross: list[Any]
) -> tuple[torch.Tensor, OwnCache, bool]:
    """Logits, the cache, and whether rows must step together: a position per row is tried first."""
    own = OwnCache([])
    if not has_distance_bias(model):
        own.length = torch.zeros(ids.shape[0], 1, dtype=torch.long, device=ids.device)
        try:
            return run_decoder(model, ids, mask, own, cross, emit=False), own, False
        except (ValueError, RuntimeError, IndexError):  # shapes that do not fit: it wants one position
            own = OwnCache([])
    return run_decoder(model, ids, mask, own, cross, emit=False), own, True


def sizes(keys: list[Any]) -> list[tuple[int, int]]:
    """(heads, head_dim) of each layer's keys."""
    return [(key.shape[1], key.shape[3]) for key in keys]


def has_distance_bias(model: Any) -> bool:
    """Whether the decoder adds a learned bias per distance (T5 and its kin), computed for one position of all rows."""
    return any(getattr(module, "has_relative_attention_bias", False) for module in model.get_decoder().modules())


def vocab_size(model: Any) -> int:
    """Columns of the decoder's logits."""
    return int(model.config.get_text_config(decoder=True).vocab_size)
