"""Keys and values on a device: the same as in the host's memory, and never through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from exporter import export
from runtime.bundle import CacheSpec, open_bundle
from runtime.errors import CapacityError
from runtime.generation import device_memory
from runtime.generation.candidates import DeviceLogits
from runtime.generation.config import resolve
from runtime.generation.decode_binding import HostLogits
from runtime.generation.device_graphs import copy_graph, varint, zero_graph
from runtime.generation.device_memory import DeviceMemory, device_name
from runtime.generation.host_memory import HostMemory
from runtime.generation.model import LanguageModel, open_runner
from runtime.generation.slot_cache import CrossMemory, SlotCache
from runtime.generation.slot_memory import ITEM_SIZES, Array, Move
from runtime.generation.slots import SlotRunner
from tests.device import MEMORIES, DeviceSession, move_to_device, open_model

# Different heads and widths; a row of 3 float16 numbers is no multiple of 4 bytes.
ARRAYS = [Array("a", 2, 8), Array("b", 1, 4), Array("c", 2, 3), Array("d", 5, 16)]


def both(dtype: str = "float32") -> tuple[HostMemory, DeviceMemory]:
    return HostMemory(ARRAYS, dtype, "fewer", zeroed=True), DeviceMemory(ARRAYS, dtype, "fewer", "cpu")


def random_values(array: Array, count: int, dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, array.heads, count, array.head_dim)).astype(dtype)


def assert_equal(host: HostMemory, device: DeviceMemory) -> None:
    assert (host.slots, host.length, host.nbytes) == (device.slots, device.length, device.nbytes)
    for array in ARRAYS:
        for slot in range(host.slots):
            expected = host.fetch(slot, array.name, host.length)
            np.testing.assert_array_equal(device.fetch(slot, array.name, host.length), expected)


def test_the_graphs_are_onnx() -> None:
    """What is written without the `onnx` package is what that package calls a model."""
    for content in (copy_graph(7, 1), copy_graph(5, 48), zero_graph()):
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    names = [value.name for value in onnx.load_from_string(copy_graph(6, 2)).graph.output]
    assert names == ["copied_0", "copied_1"]
    assert [varint(number) for number in (0, 127, 128, 300)] == [b"\x00", b"\x7f", b"\x80\x01", b"\xac\x02"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("seed", range(4))
def test_as_the_hosts_memory(dtype: str, seed: int) -> None:
    """Anything in any order: growing, filling, copies, exchanges, permutations."""
    host, device = both(dtype)
    random = np.random.default_rng(seed)
    for step in range(30):
        slots, length = host.slots + int(random.integers(0, 3)), host.length + int(random.integers(0, 9))
        for memory in (host, device) if step % 6 == 0 else ():
            memory.grow(max(slots, 1), max(length, 4))
        one, other = random.integers(0, host.slots, 2).tolist()
        start, end = sorted(random.integers(0, host.length + 1, 2).tolist())
        rows = random.permutation(host.slots).tolist()
        array = ARRAYS[int(random.integers(len(ARRAYS)))]
        values = random_values(array, end, dtype, step)
        for memory in (host, device):
            if step % 3 == 0:
                given = values if memory is host else ort.OrtValue.ortvalue_from_numpy(values)
                memory.fill(one, array.name, given)
            elif step % 3 == 1:
                memory.swap(one, other, end)
            elif step % 2:
                memory.move([Move(one, other, start, end)])
            else:
                memory.move([Move(source, target, start, end) for target, source in enumerate(rows)])
        assert_equal(host, device)


def test_bfloat16_moves_too() -> None:
    """numpy has no such type: the memory is moved in words, and fetched as float32."""
    device, array = DeviceMemory(ARRAYS, "bfloat16", "fewer", "cpu"), ARRAYS[0]
    device.grow(2, 4)
    values = random_values(array, 4, "float32", 1)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    device.fill(0, "a", ort.OrtValue.ortvalue_from_numpy(upper))
    device.move([Move(0, 1, 1, 3)])
    expected = (upper.astype(np.uint32) << 16).view(np.float32)[0]
    np.testing.assert_array_equal(device.fetch(0, "a", 4), expected)
    np.testing.assert_array_equal(device.fetch(1, "a", 4)[:, 1:3], expected[:, 1:3])
    assert not device.fetch(1, "a", 4)[:, [0, 3]].any() and ITEM_SIZES["bfloat16"] == 2


def test_refused_memory_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device raises errors of ONNX Runtime's own, here for the third of four arrays."""
    host, device = both()
    for memory in (host, device):
        memory.grow(2, 8)
    for array in ARRAYS:
        values = random_values(array, 8, "float32", 3)
        host.fill(1, array.name, values)
        device.fill(1, array.name, ort.OrtValue.ortvalue_from_numpy(values))
    allocated: list[int] = []
    allocate = device_memory.allocate

    def refuse(place: str, shape: tuple[int, ...]) -> Any:
        allocated.append(1)
        if len(allocated) == 3:
            raise RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory")
        return allocate(place, shape)

    monkeypatch.setattr(device_memory, "allocate", refuse)
    with pytest.raises(CapacityError, match=r"no memory for 0.0 GiB of keys and values: fewer"):
        device.grow(4, 16)
    assert_equal(host, device)


def test_the_machine_has_no_such_memory() -> None:
    cache = SlotCache(CacheSpec("slots", 1 << 40, "float32", [(64, 128)]), 8, 1 << 40, "cpu")
    with pytest.raises(CapacityError, match=r"no memory for .* GiB of keys and values: fewer slots or a shorter"):
        cache.ensure(8, 1 << 40)
    assert cache.slots == 0


@pytest.mark.parametrize("device", [None, "cpu"])
def test_sources(device: str | None) -> None:
    """Behind a source are zeros, whatever was there; its mask moves with it."""
    cross, spec = [], CacheSpec("slots", 64, "float32", [(2, 8)], cross=[(2, 8)])
    memory = CrossMemory(spec, device)
    memory.ensure(2, 0)
    assert memory.ensure(2, 70) and (memory.slots, memory.length) == (2, 128) and not memory.ensure(1, 128)
    for slot, count in ((0, 70), (1, 5), (0, 6)):
        values = np.full((1, 2, count, 8), np.nan if count == 70 else slot + 1, np.float32)
        given = values if device is None else ort.OrtValue.ortvalue_from_numpy(values)
        memory.fill(slot, {name: given for name, _, _ in memory.arrays}, np.ones(count, np.int64))
    for name, _, _ in memory.arrays:
        cross.append([memory.memory.fetch(slot, name, 128).sum() / 16 for slot in range(2)])
    assert cross == [[6, 10]] * 2 and memory.mask.sum(1).tolist() == [6, 5]
    memory.swap(0, 1)
    assert memory.memory.fetch(0, memory.arrays[0].name, 128).sum() == 160 and memory.mask.sum(1).tolist() == [5, 6]
    memory.copy(0, 1)
    assert memory.memory.fetch(1, memory.arrays[1].name, 128).sum() == 160 and memory.mask.sum(1).tolist() == [5, 5]


def test_names_of_devices() -> None:
    names = [device_name(type("Info", (), {"name": name})) for name in ("Cpu", "Cuda", "CudaPinned")]
    assert names == ["cpu", "cuda", "cpu"]


# ---- with a model


@pytest.fixture(scope="module")
def bundle(causal_lm_bundle: Path) -> Any:
    return open_bundle(causal_lm_bundle, verify=False)


def prompts() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shared = random.integers(1, 2048, 40)
    return [np.concatenate([shared, random.integers(1, 2048, count)]) for count in (3, 17, 40)]


WAYS: list[dict[str, Any]] = [
    {},
    {"do_sample": True, "top_k": 20, "seed": 1},
    {"do_sample": True, "top_p": 0.9, "top_k": 0, "seed": 1},
    {"repetition_penalty": 1.2},
    {"prompt_lookup_num_tokens": 4},
    {"num_beams": 2, "num_return_sequences": 2},
]


def answers(model: Any) -> list[list[list[int]]]:
    """One way after the other on the same slots, so that prefixes are found, moved and taken over."""
    groups = []
    for way in WAYS:
        config = resolve({}, max_new_tokens=12, eos_token_id=-1, **way)
        groups += model.generate(prompts(), config)
    return [[one.tokens for one in group] for group in groups]


def test_nothing_is_read_from_the_device(bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No value there becomes an array; keys and values are not even known by anything but their addresses."""
    expected = answers(open_model("host", bundle, 4))

    def refuse(self: Any, *args: Any) -> Any:
        raise AssertionError("device memory is read on the host")

    for name in ("numpy", "__array__", "to_dlpack", "__dlpack__"):
        monkeypatch.setattr(ort.OrtValue, name, refuse, raising=False)
    model = open_model("device", bundle, 4)
    assert answers(model) == expected
    statistics = model.engine.statistics()
    assert statistics.prefix_hits > 0


def test_candidates_alone_come_to_the_host(bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of prompts, single or together, chunks, steps and drafts, where they answer the request."""

    def refuse(self: Any, *args: Any) -> Any:
        raise AssertionError("all logits of a run come to the host")

    greedy, host = [resolve({}, max_new_tokens=12, eos_token_id=-1, **way) for way in (WAYS[0], WAYS[1], WAYS[4])], []
    asked = [prompts(), prompts()[:1], [np.tile(prompts()[1], 3)]]
    plain = open_model("host", bundle, 4)
    for config, ids in zip(greedy, asked, strict=True):
        host.append([group[0].tokens for group in plain.generate(ids, config)])
    monkeypatch.setattr(HostLogits, "__init__", refuse)
    monkeypatch.setattr(DeviceLogits, "fetch", refuse)
    model = open_model("device", bundle, 4)
    model.engine.chunk = 16
    found = [
        [group[0].tokens for group in model.generate(ids, config)] for config, ids in zip(greedy, asked, strict=True)
    ]
    assert found == host and model.engine.statistics().drafted_tokens > 0


def test_numbers_that_are_not_bound_again_are_not_seen(bundle: Any) -> None:
    """The device of these tests is as strict as one: with bindings as on a CPU steps read the zeros of their making."""
    model = open_model("device", bundle, 4)
    runner: Any = model.runner
    runner.copies_inputs = False
    with pytest.raises(Exception, match="total_sequence_length must be positive, got 0"):
        answers(model)


def test_attention_that_a_gpu_leaves_to_the_cpu(bundle: Any) -> None:
    """CUDA has none in float32: keys and values lie on the host and are written in place, all else is copied there."""
    model = open_model("host", bundle, 4)
    runner: Any = model.runner

    class OnCuda(DeviceSession):
        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def holds(address: int) -> bool:
        buffers = [(buffer.ctypes.data, buffer.nbytes) for buffer in made.cache.memory.buffers.values()]
        return any(begin <= address < begin + size for begin, size in buffers)

    made: Any = SlotRunner(OnCuda(runner.session, holds), runner.graph, runner.cache.spec, 4, runner.max_length)  # type: ignore[arg-type]
    assert made.copies_inputs and made.device is None
    assert answers(LanguageModel(made)) == answers(model)


def test_a_cpu_keeps_them_in_arrays_by_default(bundle: Any) -> None:
    runner: Any = open_runner(bundle, "cpu", 1, 1, None)
    assert runner.device is None and isinstance(runner.cache.memory, HostMemory) and not runner.copies_inputs
    runner = open_runner(bundle, "cpu", 1, 1, None, device_memory=True)
    assert runner.device == "cpu" and runner.prefers_candidates and runner.alone().device == "cpu"


def test_what_it_takes_is_told(bundle: Any) -> None:
    told = []
    for memory in MEMORIES:
        model = open_model(memory, bundle, 2)
        model.generate([prompts()[0]], resolve({}, max_new_tokens=2))
        told.append(model.engine.memory())
    assert told[0] == told[1] and told[0].allocated > 0


def test_float16(causal_lm_checkpoint: Path, tmp_path: Path) -> None:
    """Caches of half the size, moved in the same words."""
    from runtime import pipeline

    path = export(causal_lm_checkpoint, task="text-generation", output=tmp_path, precision="fp16", validate=False)
    pipe: Any = pipeline("text-generation", path, slots=4, verify=False)
    assert pipe.manifest.cache.dtype == "float16"
    expected = answers(pipe.model)
    assert answers(move_to_device(pipe).model) == expected
