"""What the attention functions know of the forward pass that calls them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from exporter.tracing.cache import PassThroughCache
from exporter.tracing.rotary import Rotary


class UnsupportedAttentionError(Exception):
    """The operator cannot express what this attention asks for; the message is the reason shown to people."""


@dataclass
class AttentionCall:
    """What one attention layer asked for: sizes, and the attributes of its operator."""

    layer: int
    heads: int
    kv_heads: int
    head_dim: int
    attributes: dict[str, int | float]


@dataclass
class Context:
    """State of the forward pass under way: the registered functions are global, this says whom they serve."""

    cache: Any = None  # PassThroughCache, or seq2seq_cache.Seq2SeqCache
    emit: bool = False
    record: bool = False  # only the cross-attention's keys and values matter
    encoder_mask: torch.Tensor | None = None  # `[batch, keys]`, for cross-attention
    rotary: Rotary | None = None  # rotations that attention itself applies
    calls: list[AttentionCall] = field(default_factory=list)

    @property
    def own(self) -> PassThroughCache:
        """The decoder's self-attention cache."""
        own: PassThroughCache = getattr(self.cache, "self_attention_cache", self.cache)
        return own


_current = Context()


@contextlib.contextmanager
def attention_context(context: Context) -> Iterator[Context]:
    """Make `context` the one that the registered functions use."""
    global _current
    previous, _current = _current, context
    try:
        yield context
    finally:
        _current = previous


def current() -> Context:
    """The state of the forward pass under way."""
    return _current
