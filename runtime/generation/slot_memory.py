"""Where keys and values lie: named arrays `[slots, heads, length, head_dim]`, in the host's memory or on a device.

Both kinds do the same: grow, move positions between slots, show a range of slots to a run. What is shown is the memory
itself, past and present at once, so that a run writes in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

ITEM_SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}


class Array(NamedTuple):
    """One of the arrays, by the name of the graph's input."""

    name: str
    heads: int
    head_dim: int


class Move(NamedTuple):
    """Positions [start, end) of one slot that another one is to hold."""

    source: int
    target: int
    start: int
    end: int


class SlotMemory(Protocol):
    """Memory for slots; what has not been written is undefined, or zero where it was asked for.

    slots, length: how much of it there is. Errors of growing are `CapacityError`, and leave everything as it was.
    """

    slots: int
    length: int

    @property
    def nbytes(self) -> int: ...

    def grow(self, slots: int, length: int) -> None:
        """Become `slots` rows of `length` positions, no fewer than there are, keeping what is there."""

    def move(self, moves: Sequence[Move]) -> None:
        """Copy between slots, all at once: no move sees what another one wrote."""

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` positions of two slots."""

    def fill(self, slot: int, name: str, value: Any) -> None:
        """Keep `value` `[1, heads, n, head_dim]` in a slot's first positions, and zeros behind them.

        value: an array in the host's memory, for device memory an `OrtValue` that lies there.
        """

    def fetch(self, slot: int, name: str, length: int) -> np.ndarray:
        """A copy of a slot's first positions, `[heads, length, head_dim]`, in the host's memory."""

    def bind(self, bind: Any, bound: str, name: str, begin: int, end: int) -> None:
        """Call `bind` (of an IOBinding) for its input or output `bound` with the slots [begin, end) of an array."""
