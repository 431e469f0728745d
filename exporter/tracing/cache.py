"""A cache that hands new keys and values straight to attention, which owns past and present."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache


class PassThroughCache(Cache):  # type: ignore[misc]
    """Stands in for transformers' caches while a decoder is traced or probed.

    past: per layer `(key, value)`, each `[batch, kv_heads, max_length, head_dim]`;
    present: filled by the attention function; seqlens_k `[batch]` int32: row length after this step, minus one;
    total_sequence_length: int32 scalar, the longest row after this step.
    """

    is_compileable = False

    def __init__(
        self,
        past: list[tuple[torch.Tensor, torch.Tensor]],
        seqlens_k: torch.Tensor | None = None,
        total_sequence_length: torch.Tensor | None = None,
    ) -> None:
        self.past = past
        self.present: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.seqlens_k = seqlens_k
        self.total_sequence_length = total_sequence_length
        self.updates: list[int] = []
        self.layers: list[Any] = [None] * len(past)
        self.length: Any = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.updates.append(layer_idx)
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> Any:
        return self.length

    def get_mask_sizes(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        return 0, 0

    def __len__(self) -> int:
        return len(self.past)

    @property
    def is_sliding(self) -> list[bool]:
        return [False] * len(self.past)
