"""Keys and values in device memory, on machines without a device: the CPU as one, made as strict as a GPU.

Of its memory nothing but the address can be had, and what a run reads from the host is copied when it is bound, as
ONNX Runtime's `IOBinding::BindInput` does for inputs that a provider reads elsewhere.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.generation.candidates import DeviceLogits
from runtime.generation.device_memory import DeviceMemory
from runtime.generation.model import LanguageModel, open_runner
from runtime.generation.slots import SlotRunner

MEMORIES = ["host", "device"]


class Sealed:
    """A value in device memory: its address, and nothing that would read it here."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self.begin, self.end = value.data_ptr(), value.data_ptr() + value.tensor_size_in_bytes()

    def data_ptr(self) -> int:
        return int(self.begin)


class DeviceSession:
    """A session whose provider reads its inputs on a device."""

    def __init__(self, session: Any, holds: Callable[[int], bool]) -> None:
        self.session = session
        self.holds = holds

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def io_binding(self) -> Any:
        return DeviceBinding(self.session.io_binding(), self.holds)

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        self.session.run_with_iobinding(binding.binding, options)


class DeviceBinding:
    """Copies what lies on the host when it is bound; whatever is written there later is not seen."""

    def __init__(self, binding: Any, holds: Callable[[int], bool]) -> None:
        self.binding = binding
        self.holds = holds
        self.copies: dict[str, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.binding, name)

    def bind_cpu_input(self, name: str, array: np.ndarray) -> None:
        self.binding.bind_cpu_input(name, array.copy())

    def bind_input(self, name: str, device: str, number: int, dtype: Any, shape: Any, address: int) -> None:
        if not self.holds(address):
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            content = ctypes.string_at(address, size)
            self.copies[name] = np.frombuffer(content, dtype).reshape(shape).copy()
            address = self.copies[name].ctypes.data
        self.binding.bind_input(name, device, number, dtype, shape, address)


def open_model(memory: str, bundle: Any, slots: int, max_length: int | None = None) -> LanguageModel:
    """A model whose keys and values lie in `memory`, one of `MEMORIES`."""
    runner: Any = open_runner(bundle, "cpu", 1, slots, max_length, device_memory=memory == "device")
    if memory == "device":
        seal(runner)
    return LanguageModel(runner)


def move_to_device(pipe: Any) -> Any:
    """A pipeline with its keys and values on the device from now on."""
    pipe.model.close()
    pipe.model = open_model("device", pipe.bundle, pipe.model.runner.slots)
    return pipe


def seal(runner: SlotRunner) -> None:
    """Make the device of a new runner a strict one."""
    memories: list[Any] = [getattr(runner, name).memory for name in ("cache", "cross") if hasattr(runner, name)]
    for memory in memories:
        assert isinstance(memory, DeviceMemory) and not memory.values
        written = memory._reserve
        memory._reserve = lambda size, written=written: Sealed(written(size))  # type: ignore[assignment,misc]

    def holds(address: int) -> bool:
        values = [value for memory in memories for value in memory.values.values()]
        return any(value.begin <= address < value.end for value in values) or logits_hold(runner._best, address)

    for name in ("session", "encoder"):
        if hasattr(runner, name):
            setattr(runner, name, DeviceSession(getattr(runner, name), holds))


def logits_hold(logits: DeviceLogits | None, address: int) -> bool:
    """Whether an address is in the memory of the logits."""
    if logits is None:
        return False
    begin = logits.value.data_ptr()
    return bool(begin <= address < begin + logits.value.tensor_size_in_bytes())
