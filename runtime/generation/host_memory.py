"""Slot memory in numpy arrays of the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.errors import CapacityError
from runtime.generation.slot_memory import Array, Move


class HostMemory:
    """`SlotMemory` in the CPU's memory. zeroed: whether new memory holds zeros. remedy: what to do if there is none."""

    def __init__(self, arrays: Sequence[Array], dtype: str, remedy: str, zeroed: bool = False) -> None:
        self.arrays = arrays
        self.dtype = np.dtype(dtype)
        self.remedy = remedy
        self.zeroed = zeroed
        self.slots = 0
        self.length = 0
        self.buffers: dict[str, np.ndarray] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the memory as it is now."""
        return sum(buffer.nbytes for buffer in self.buffers.values())

    def grow(self, slots: int, length: int) -> None:
        """See `SlotMemory`."""
        # All or nothing, so that a refusal leaves running rows as they are. Pages take memory when they are written,
        # and each old buffer goes as soon as it is copied: the peak is one layer above the new size.
        grown = {name: self._reserve((slots, heads, length, head_dim)) for name, heads, head_dim in self.arrays}
        for name in list(self.buffers):
            grown[name][: self.slots, :, : self.length] = self.buffers.pop(name)
        self.buffers = grown
        self.slots, self.length = slots, length

    def move(self, moves: Sequence[Move]) -> None:
        """See `SlotMemory`."""
        if len(moves) == 1:
            source, target, start, end = moves[0]
            for buffer in self.buffers.values():
                buffer[target, :, start:end] = buffer[source, :, start:end]
            return
        for buffer in self.buffers.values():
            parts = [buffer[move.source, :, move.start : move.end].copy() for move in moves]
            for part, move in zip(parts, moves, strict=True):
                buffer[move.target, :, move.start : move.end] = part

    def swap(self, one: int, other: int, length: int) -> None:
        """See `SlotMemory`."""
        for buffer in self.buffers.values():
            kept = buffer[one, :, :length].copy()
            buffer[one, :, :length] = buffer[other, :, :length]
            buffer[other, :, :length] = kept

    def fill(self, slot: int, name: str, value: np.ndarray) -> None:
        """See `SlotMemory`."""
        count = value.shape[2]
        self.buffers[name][slot, :, :count] = value[0]
        self.buffers[name][slot, :, count:] = 0

    def fetch(self, slot: int, name: str, length: int) -> np.ndarray:
        """See `SlotMemory`."""
        return self.buffers[name][slot, :, :length].copy()

    def bind(self, bind: Any, bound: str, name: str, begin: int, end: int) -> None:
        """See `SlotMemory`."""
        bind_array(bind, bound, self.buffers[name][begin:end])

    def _reserve(self, shape: tuple[int, ...]) -> np.ndarray:
        try:
            return np.zeros(shape, self.dtype) if self.zeroed else np.empty(shape, self.dtype)
        except MemoryError as error:
            raise no_memory(int(np.prod(shape)) * self.dtype.itemsize, self.remedy) from error


def no_memory(size: int, remedy: str) -> CapacityError:
    """What to say when the machine refuses `size` bytes."""
    return CapacityError(f"no memory for {size / 2**30:.1f} GiB of keys and values: {remedy}")


def bind_array(bind: Any, name: str, array: np.ndarray) -> None:
    """Bind a contiguous array by its address: no copy on a CPU, and ONNX Runtime writes outputs into it.

    An input that a run reads on another device is copied there now: what is written into the array later is not seen.
    """
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
