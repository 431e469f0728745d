"""The cache of an encoder–decoder while it is traced: its own keys and values handed through, the encoder's recorded
or given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import EncoderDecoderCache

from exporter.tracing.cache import PassThroughCache


@dataclass
class Layer:
    """Keys and values of one layer's cross-attention, under the names that attention reads them by."""

    keys: torch.Tensor | None = None
    values: torch.Tensor | None = None


def extend(layers: list[Any], index: int, empty: Any) -> None:
    """Make room for layer `index`: models do not agree on where they say how many layers their decoder has."""
    layers += [empty] * (index + 1 - len(layers))


class CrossCache(PassThroughCache):
    """Cross-attention keys and values: recorded while the encoder is traced, given while the decoder is."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__([])
        self.layers = layers

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        extend(self.layers, layer_idx, Layer())
        self.layers[layer_idx] = Layer(key_states, value_states)
        return key_states, value_states

    def __len__(self) -> int:
        return len(self.layers)


class OwnCache(PassThroughCache):
    """The decoder's self-attention cache. In lockstep, keys seem to be as many as `total` says, for the bias."""

    total: Any = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.updates.append(layer_idx)
        shown = key_states
        if self.total is not None:
            shown = key_states.new_zeros(*key_states.shape[:2], self.total, key_states.shape[3])
        extend(self.layers, layer_idx, None)
        self.layers[layer_idx] = (shown, key_states, value_states)
        return shown, value_states


class Seq2SeqCache(EncoderDecoderCache):  # type: ignore[misc]
    """Self-attention handed through, cross-attention recorded or given."""

    def __init__(self, own: OwnCache, cross: CrossCache) -> None:
        self.self_attention_cache = own
        self.cross_attention_cache = cross
        self.is_updated = dict.fromkeys(range(len(cross.layers)), True)

    def own_key(self, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The real keys and values of a self-attention call, None for any other call."""
        for layer in self.self_attention_cache.layers:
            if layer is not None and layer[0] is key:
                return layer[1], layer[2]
        return None

    def is_cross(self, key: torch.Tensor) -> bool:
        """Whether a key tensor is one of the cross-attention's."""
        return any(layer.keys is key for layer in self.cross_attention_cache.layers)
