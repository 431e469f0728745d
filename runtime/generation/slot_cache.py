"""Slot memory: one row of every layer's key/value buffer `[slots, kv_heads, max_length, head_dim]` is a slot.

ONNX Runtime's GroupQueryAttention takes each row's own length (`seqlens_k`), ignores what lies beyond it, and writes
new keys and values where past and present share memory. So rows of different lengths decode together, and a prompt is
prefilled straight into its slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from runtime.bundle import CacheSpec
from runtime.errors import CapacityError


class Move(NamedTuple):
    """Positions [start, end) of one slot that another one is to hold."""

    source: int
    target: int
    start: int
    end: int


class SlotCache:
    """The key/value memory, in the CPU's memory: as many slots and positions as were needed so far, up to the limits.

    It grows instead of starting at its limits because the operator's scratch memory is as long as the buffer: measured
    on GPT-2, a 256-token prefill takes 520 MB more in a buffer of 32,768 positions than in one of 512.
    """

    def __init__(self, spec: CacheSpec, slots: int, max_length: int) -> None:
        self.max_slots = slots
        self.max_length = max_length
        self.dtype = np.dtype(spec.dtype)
        self.layers = spec.layers
        self.slots = 0
        self.length = 0
        self.buffers: dict[str, np.ndarray] = {}

    @property
    def nbytes_limit(self) -> int:
        """Bytes that the memory can grow to: every slot at its longest."""
        per_token = sum(2 * kv_heads * head_dim for kv_heads, head_dim in self.layers) * self.dtype.itemsize
        return self.max_slots * self.max_length * per_token

    def ensure(self, slots: int, length: int) -> bool:
        """Grow to at least `slots` rows of `length` positions, keeping what is there; says whether buffers moved."""
        if slots <= self.slots and length <= self.length:
            return False
        if slots > self.max_slots or length > self.max_length:
            raise CapacityError(
                f"{slots} slots of {length} tokens were asked for, the limit is {self.max_slots} of {self.max_length}"
            )
        self._grow(
            _next_size(self.slots, slots, 1, self.max_slots), _next_size(self.length, length, 256, self.max_length)
        )
        return True

    def _grow(self, slots: int, length: int) -> None:
        # All or nothing, so that a refusal leaves running rows as they are. Pages take memory when they are written,
        # and each old buffer goes as soon as it is copied: the peak is one layer above the new size.
        grown = {
            f"past_key_values.{layer}.{part}": reserve((slots, kv_heads, length, head_dim), self.dtype)
            for layer, (kv_heads, head_dim) in enumerate(self.layers)
            for part in ("key", "value")
        }
        for name in list(self.buffers):
            grown[name][: self.slots, :, : self.length] = self.buffers.pop(name)
        self.buffers = grown
        self.slots, self.length = slots, length

    def copy(self, source: int, target: int, length: int, start: int = 0) -> None:
        """Copy the positions from `start` to `length` of a slot to another one."""
        for buffer in self.buffers.values():
            buffer[target, :, start:length] = buffer[source, :, start:length]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` positions of two slots."""
        for buffer in self.buffers.values():
            kept = buffer[one, :, :length].copy()
            buffer[one, :, :length] = buffer[other, :, :length]
            buffer[other, :, :length] = kept

    def move(self, moves: Sequence[Move]) -> None:
        """Copy between slots, all at once: no move sees what another one wrote."""
        for buffer in self.buffers.values():
            parts = [buffer[move.source, :, move.start : move.end].copy() for move in moves]
            for part, move in zip(parts, moves, strict=True):
                buffer[move.target, :, move.start : move.end] = part

    @property
    def nbytes(self) -> int:
        """Bytes of the memory as it is now."""
        return sum(buffer.nbytes for buffer in self.buffers.values())


def _next_size(current: int, wanted: int, step: int, limit: int) -> int:
    """Round up to `step`, and at least double, so that growing one by one stays cheap."""
    if wanted <= current:
        return current
    return min(limit, max(-(-wanted // step) * step, 2 * current))


def reserve(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Uninitialised memory; a size that the machine refuses is a `CapacityError`, not a crash."""
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        size = np.prod(shape) * dtype.itemsize / 2**30
        raise CapacityError(
            f"no memory for {size:.1f} GiB of keys and values: fewer slots or a shorter max_length"
        ) from error
