"""Slot memory: one row of every layer's key/value buffer `[slots, kv_heads, max_length, head_dim]` is a slot.

ONNX Runtime's GroupQueryAttention takes each row's own length (`seqlens_k`), ignores what lies beyond it, and writes
new keys and values where past and present share memory. So rows of different lengths decode together, and a prompt is
prefilled straight into its slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from runtime.bundle import CacheSpec
from runtime.errors import CapacityError
from runtime.generation.device_memory import DeviceMemory
from runtime.generation.host_memory import HostMemory
from runtime.generation.slot_memory import ITEM_SIZES, Array, Move, SlotMemory

ROUND = 64
KEYS = "past_key_values"
CROSS = "cross_key_values"


class SlotCache:
    """The key/value memory: as many slots and positions as were needed so far, up to the limits.

    It grows instead of starting at its limits because the operator's scratch memory is as long as the buffer: measured
    on GPT-2, a 256-token prefill takes 520 MB more in a buffer of 32,768 positions than in one of 512.

    device: where it lies, in ONNX Runtime's words; None for numpy arrays in the host's memory.
    """

    def __init__(self, spec: CacheSpec, slots: int, max_length: int, device: str | None = None) -> None:
        self.max_slots = slots
        self.max_length = max_length
        self.spec = spec
        self.arrays = arrays_of(KEYS, spec.layers)
        self.memory = open_memory(self.arrays, spec.dtype, "fewer slots or a shorter max_length", device)

    @property
    def slots(self) -> int:
        """Rows that there are by now."""
        return self.memory.slots

    @property
    def length(self) -> int:
        """Positions that each of them has by now."""
        return self.memory.length

    @property
    def nbytes(self) -> int:
        """Bytes of the memory as it is now."""
        return self.memory.nbytes

    @property
    def nbytes_limit(self) -> int:
        """Bytes that the memory can grow to: every slot at its longest."""
        per_token = sum(heads * head_dim for _, heads, head_dim in self.arrays) * ITEM_SIZES[self.spec.dtype]
        return self.max_slots * self.max_length * per_token

    def ensure(self, slots: int, length: int) -> bool:
        """Grow to at least `slots` rows of `length` positions, keeping what is there; says whether buffers moved."""
        if slots <= self.slots and length <= self.length:
            return False
        if slots > self.max_slots or length > self.max_length:
            raise CapacityError(
                f"{slots} slots of {length} tokens were asked for, the limit is {self.max_slots} of {self.max_length}"
            )
        self.memory.grow(
            _next_size(self.slots, slots, 1, self.max_slots), _next_size(self.length, length, 256, self.max_length)
        )
        return True

    def copy(self, source: int, target: int, length: int, start: int = 0) -> None:
        """Copy the positions from `start` to `length` of a slot to another one."""
        self.memory.move([Move(source, target, start, length)])

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` positions of two slots."""
        self.memory.swap(one, other, length)

    def move(self, moves: Sequence[Move]) -> None:
        """Copy between slots, all at once: no move sees what another one wrote."""
        self.memory.move(moves)

    def fetch(self, slot: int, name: str, length: int) -> np.ndarray | None:
        """A copy of what the graph's input `name` holds for a slot, `[heads, length, head_dim]`; None for no such."""
        return self.memory.fetch(slot, name, length) if name in {array.name for array in self.arrays} else None

    def bind(self, binding: Any, begin: int, end: int) -> None:
        """Show the slots [begin, end) to a run, as past and as present."""
        for name, _, _ in self.arrays:
            self.memory.bind(binding.bind_input, name, name, begin, end)
            self.memory.bind(binding.bind_output, name.replace(KEYS, "present"), name, begin, end)


class CrossMemory:
    """Cross-attention keys and values `[slots, heads, length, head_dim]` by graph input name, and their mask.

    Zeros, not garbage, beyond a source's length: the mask takes a weight of zero there, and zero times NaN is NaN.
    mask: int64 `[slots, length]`, in the host's memory.
    """

    def __init__(self, spec: CacheSpec, device: str | None = None) -> None:
        self.arrays = arrays_of(CROSS, spec.cross)
        self.memory = open_memory(self.arrays, spec.dtype, "fewer slots or shorter sources", device, zeroed=True)
        self.mask = np.zeros((0, 0), np.int64)

    @property
    def slots(self) -> int:
        """Rows that there are by now."""
        return self.memory.slots

    @property
    def length(self) -> int:
        """Positions of sources that each of them has by now."""
        return self.memory.length

    @property
    def nbytes(self) -> int:
        """Bytes of the memory as it is now."""
        return self.memory.nbytes + self.mask.nbytes

    def ensure(self, slots: int, length: int) -> bool:
        """Grow to at least `slots` rows of `length` positions, keeping what is there; says whether buffers moved."""
        if slots <= self.slots and length <= self.length:
            return False
        self.memory.grow(max(slots, self.slots), max(-(-length // ROUND) * ROUND, self.length))
        rows, columns = self.mask.shape
        self.mask = np.pad(self.mask, ((0, self.slots - rows), (0, self.length - columns)))
        return True

    def fill(self, slot: int, outputs: Mapping[str, np.ndarray | ort.OrtValue], mask: np.ndarray) -> None:
        """Keep what the encoder gave for one source: values `[1, heads, n, head_dim]`, mask `[n]`."""
        for name, _, _ in self.arrays:
            self.memory.fill(slot, name, outputs[name])
        self.mask[slot, : len(mask)], self.mask[slot, len(mask) :] = mask, 0

    def copy(self, source: int, target: int) -> None:
        """Slot `target` reads the same source as `source`."""
        self.memory.move([Move(source, target, 0, self.length)])
        self.mask[target] = self.mask[source]

    def swap(self, one: int, other: int) -> None:
        """Exchange the sources of two slots."""
        self.memory.swap(one, other, self.length)
        self.mask[[one, other]] = self.mask[[other, one]]

    def bind(self, binding: Any, begin: int, end: int) -> None:
        """Show the slots [begin, end) to a run."""
        for name, _, _ in self.arrays:
            self.memory.bind(binding.bind_input, name, name, begin, end)


def arrays_of(prefix: str, layers: Sequence[tuple[int, int]]) -> list[Array]:
    """The keys and the values of each layer."""
    return [
        Array(f"{prefix}.{layer}.{part}", heads, head_dim)
        for layer, (heads, head_dim) in enumerate(layers)
        for part in ("key", "value")
    ]


def open_memory(
    arrays: Sequence[Array], dtype: str, remedy: str, device: str | None, zeroed: bool = False
) -> SlotMemory:
    """Memory on a device, or in the host's for None."""
    return HostMemory(arrays, dtype, remedy, zeroed) if device is None else DeviceMemory(arrays, dtype, remedy, device)


def _next_size(current: int, wanted: int, step: int, limit: int) -> int:
    """Round up to `step`, and at least double, so that growing one by one stays cheap."""
    if wanted <= current:
        return current
    return min(limit, max(-(-wanted // step) * step, 2 * current))
