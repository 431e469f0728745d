"""Slot memory on a device: allocated there, shown to runs by its addresses, moved by runs of small graphs there.

Nothing of it passes through the host: ranges of slots are addresses within one allocation, and rows of positions are
copied by `device_graphs`. It works with the CPU as the device too, which is how it is tested where there is no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import gcd
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from runtime.errors import ProviderError
from runtime.generation.device_graphs import copy_graph, zero_graph
from runtime.generation.host_memory import bind_array, no_memory
from runtime.generation.slot_memory import ITEM_SIZES, Array, Move
from runtime.session import open_graph

# What a binding calls the elements: numpy's types, and ONNX's number for the one that numpy does not have.
ELEMENTS: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": 16}
FETCHED: dict[str, Any] = {**ELEMENTS, "bfloat16": np.uint16}  # the upper half of a float32
# Rows of bytes are copied as the widest integers that divide them: (bytes, type, ONNX's number).
WORDS = ((8, np.int64, 7), (4, np.int32, 6), (2, np.int16, 5))


class Rows(NamedTuple):
    """An array on the device, as rows of bytes: where it begins, how many, and the bytes of each."""

    address: int
    total: int
    width: int


class DeviceMemory:
    """`SlotMemory` on a device. device: in ONNX Runtime's words, "cuda" or "cpu".

    Growing holds the old and the new memory at the same time. New memory holds zeros: what lies behind a row's length
    is garbage to attention, but kernels that multiply it by zero make NaN of NaN.
    """

    def __init__(self, arrays: Sequence[Array], dtype: str, remedy: str, device: str) -> None:
        self.arrays = {array.name: array for array in arrays}
        self.dtype = dtype
        self.remedy = remedy
        self.device = device
        self.slots = 0
        self.length = 0
        self.values: dict[str, ort.OrtValue] = {}
        self._copies: list[tuple[int, RowCopy]] = []  # within the memory, by heads

    @property
    def nbytes(self) -> int:
        """Bytes of the memory as it is now."""
        return sum(self.slots * self._slot_bytes(array) for array in self.arrays.values() if self.values)

    def grow(self, slots: int, length: int) -> None:
        """See `SlotMemory`."""
        grown = {name: self._reserve(slots * self._slot_bytes(array, length)) for name, array in self.arrays.items()}
        together = gcd(self.length, length)  # positions: rows as long as both lengths allow
        for name, old in self.values.items() if self.length else ():
            heads, width = self.arrays[name].heads, self._width(name) * together
            kept, there = self.length // together, length // together
            before = Rows(old.data_ptr(), self.slots * heads * kept, width)
            after = Rows(grown[name].data_ptr(), slots * heads * there, width)
            taken = [places(slot, heads, kept, 0, kept) for slot in range(self.slots)]
            put = [places(slot, heads, there, 0, kept) for slot in range(self.slots)]
            RowCopy(self.device, [before], [after]).run(np.concatenate(taken), np.concatenate(put))
        self.values, self.slots, self.length = grown, slots, length
        if not length:
            return
        by_heads = sorted(self.arrays.values(), key=lambda array: array.heads)
        groups = [(heads, [self._rows(array.name) for array in group]) for heads, group in groupby(by_heads, _heads)]
        self._copies = [(heads, RowCopy(self.device, rows, rows)) for heads, rows in groups]

    def move(self, moves: Sequence[Move]) -> None:
        """See `SlotMemory`."""
        for heads, copy in self._copies:
            taken = [places(move.source, heads, self.length, move.start, move.end) for move in moves]
            put = [places(move.target, heads, self.length, move.start, move.end) for move in moves]
            copy.run(np.concatenate(taken), np.concatenate(put))

    def swap(self, one: int, other: int, length: int) -> None:
        """See `SlotMemory`."""
        self.move([Move(one, other, 0, length), Move(other, one, 0, length)])

    def fill(self, slot: int, name: str, value: ort.OrtValue) -> None:
        """See `SlotMemory`."""
        heads, count = self.arrays[name].heads, value.shape()[2]
        size = self._slot_bytes(self.arrays[name])
        write_zeros(self.device, self.values[name].data_ptr() + slot * size, size)
        given = Rows(value.data_ptr(), heads * count, self._width(name))
        copy = RowCopy(self.device, [given], [self._rows(name)])
        copy.run(np.arange(heads * count), places(slot, heads, self.length, 0, count))

    def fetch(self, slot: int, name: str, length: int) -> np.ndarray:
        """See `SlotMemory`."""
        heads, head_dim = self.arrays[name].heads, self.arrays[name].head_dim
        found = np.empty((heads, length, head_dim), FETCHED[self.dtype])
        copy = RowCopy(
            self.device, [self._rows(name)], [Rows(found.ctypes.data, heads * length, self._width(name))], "cpu"
        )
        copy.run(places(slot, heads, self.length, 0, length), np.arange(heads * length))
        return (found.astype(np.uint32) << 16).view(np.float32) if self.dtype == "bfloat16" else found

    def bind(self, bind: Any, bound: str, name: str, begin: int, end: int) -> None:
        """See `SlotMemory`."""
        array = self.arrays[name]
        address = self.values[name].data_ptr() + begin * self._slot_bytes(array)
        shape = (end - begin, array.heads, self.length, array.head_dim)
        bind(bound, self.device, 0, ELEMENTS[self.dtype], shape, address)

    def _reserve(self, size: int) -> ort.OrtValue:
        try:
            value = allocate(self.device, (-(-size // 4),))
            write_zeros(self.device, value.data_ptr(), size)
        except Exception as error:  # MemoryError on a CPU, on a device an exception of ONNX Runtime's own
            raise no_memory(size, self.remedy) from error
        return value

    def _rows(self, name: str) -> Rows:
        count = self.slots * self.arrays[name].heads * self.length
        return Rows(self.values[name].data_ptr(), count, self._width(name))

    def _width(self, name: str) -> int:
        return self.arrays[name].head_dim * ITEM_SIZES[self.dtype]

    def _slot_bytes(self, array: Array, length: int | None = None) -> int:
        return array.heads * (self.length if length is None else length) * self._width(array.name)


class RowCopy:
    """Copies rows between arrays of equal widths, all in one run. to: where the targets are, `device` or "cpu"."""

    def __init__(self, device: str, sources: Sequence[Rows], targets: Sequence[Rows], to: str | None = None) -> None:
        size, word, number = next(entry for entry in WORDS if all(rows.width % entry[0] == 0 for rows in sources))
        self.session = open_graph(copy_graph(number, len(sources)), device)
        if memory_device(self.session, "target_0") != device:
            raise ProviderError(
                f"onnxruntime {ort.__version__} cannot copy memory on {device}: install another version"
            )
        self.binding = self.session.io_binding()
        for place, (source, target) in enumerate(zip(sources, targets, strict=True)):
            shape = (source.total, source.width // size)
            self.binding.bind_input(f"source_{place}", device, 0, word, shape, source.address)
            shape = (target.total, target.width // size)
            self.binding.bind_input(f"target_{place}", to or device, 0, word, shape, target.address)
            self.binding.bind_output(f"copied_{place}", to or device, 0, word, shape, target.address)

    def run(self, taken: np.ndarray, put: np.ndarray) -> None:
        """Rows `put` int64 `[n]` of each target become rows `taken` `[n]` of its source; all are read first."""
        if not len(taken):
            return
        indices = {"taken": np.ascontiguousarray(taken, np.int64), "put": np.ascontiguousarray(put[:, None], np.int64)}
        for name, array in indices.items():
            bind_array(self.binding.bind_input, name, array)
        self.session.run_with_iobinding(self.binding)


def allocate(device: str, shape: tuple[int, ...]) -> ort.OrtValue:
    """Undefined float32 memory on a device."""
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, device, 0)


def write_zeros(device: str, address: int, size: int) -> None:
    """Zeros into `size` bytes, a multiple of 4 or up to the end of an allocation."""
    if not size:
        return
    count = np.array([-(-size // 4)], np.int64)
    session = open_graph(zero_graph(), device)
    binding = session.io_binding()
    bind_array(binding.bind_input, "size", count)
    binding.bind_output("zeros", device, 0, np.float32, tuple(count.tolist()), address)
    session.run_with_iobinding(binding)


def places(slot: int, heads: int, length: int, start: int, end: int) -> np.ndarray:
    """Where positions [start, end) of a slot's heads stand among all rows `[slots * heads * length]`."""
    first = (slot * heads + np.arange(heads, dtype=np.int64)) * length
    found: np.ndarray = (first[:, None] + np.arange(start, end)).reshape(-1)
    return found


def memory_device(session: ort.InferenceSession, name: str) -> str:
    """Where a session reads an input: "cuda" or "cpu", which a CUDA session may choose too, node by node."""
    names = [item.name for item in session.get_inputs()]
    return device_name(session.get_input_memory_infos()[names.index(name)])


def device_name(info: Any) -> str:
    """ONNX Runtime's word for the device of a memory, as bindings take it."""
    return "cuda" if info.name == "Cuda" else "cpu"


def _heads(array: Array) -> int:
    return array.heads
