"""Slot memory and the runner over it: rows in place, of any length, whatever lay there before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from runtime.bundle import CacheSpec, open_bundle
from runtime.errors import CapacityError
from runtime.generation import host_memory
from runtime.generation import slots as slots_module
from runtime.generation.slot_cache import SlotCache
from runtime.generation.slot_memory import Move
from runtime.generation.slots import SlotRunner
from tests.device import MEMORIES, open_model

CONTEXT, VOCAB = 256, 2048
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-4}  # of logits that spread over tens


@pytest.fixture(scope="module")
def bundle(causal_lm_bundle: Path) -> Any:
    return open_bundle(causal_lm_bundle, verify=False)


@pytest.fixture(params=MEMORIES)
def make(bundle: Any, request: pytest.FixtureRequest) -> Callable[..., SlotRunner]:
    def make_runner(slots: int = 4, max_length: int | None = None) -> SlotRunner:
        runner = open_model(request.param, bundle, slots, max_length).runner
        assert isinstance(runner, SlotRunner)
        return runner

    return make_runner


def prompt(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([length, seed]).integers(1, VOCAB, length)


# ---- the memory

SPEC = CacheSpec("slots", 64, "float32", [(2, 8), (1, 4)])


def filled(slots: int = 3, length: int = 16) -> SlotCache:
    cache = SlotCache(SPEC, 8, 64)
    cache.ensure(slots, length)
    for number, buffer in enumerate(cache.memory.buffers.values()):
        buffer[...] = np.arange(buffer.size).reshape(buffer.shape) + number
    return cache


def test_memory_is_taken_as_it_is_needed() -> None:
    """None at first, then rows one by one or doubled, positions in steps of 256 up to the limit."""
    cache = SlotCache(CacheSpec("slots", 1000, "float16", [(2, 8), (1, 4)]), 10, 1000)
    assert not cache.memory.buffers
    sizes = []
    for slots, length in [(1, 3), (1, 200), (2, 256), (3, 257), (5, 600), (9, 1000)]:
        moved = cache.ensure(slots, length)
        sizes.append((moved, cache.slots, cache.length))
    assert sizes == [
        (True, 1, 256),
        (False, 1, 256),
        (True, 2, 256),
        (True, 4, 512),
        (True, 8, 1000),
        (True, 10, 1000),
    ]
    assert {name: buffer.shape for name, buffer in cache.memory.buffers.items()} == {
        "past_key_values.0.key": (10, 2, 1000, 8),
        "past_key_values.0.value": (10, 2, 1000, 8),
        "past_key_values.1.key": (10, 1, 1000, 4),
        "past_key_values.1.value": (10, 1, 1000, 4),
    }
    assert {buffer.dtype for buffer in cache.memory.buffers.values()} == {np.dtype(np.float16)}
    assert sum(buffer.nbytes for buffer in cache.memory.buffers.values()) == cache.nbytes_limit


def test_growing_keeps_what_is_there() -> None:
    cache = filled()
    before = {name: buffer.copy() for name, buffer in cache.memory.buffers.items()}
    cache.ensure(7, 60)
    for name, buffer in cache.memory.buffers.items():
        rows, _, length, _ = before[name].shape
        np.testing.assert_array_equal(buffer[:rows, :, :length], before[name])


@pytest.mark.parametrize(("slots", "length"), [(9, 1), (1, 65), (9, 65)])
def test_limits(slots: int, length: int) -> None:
    cache = filled()
    with pytest.raises(CapacityError, match=f"{slots} slots of {length} tokens were asked for, the limit is 8 of 64"):
        cache.ensure(slots, length)
    assert (cache.slots, cache.length) == (3, 64)


def test_refused_memory_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has none left for the second of four buffers."""
    cache = filled()
    before = {name: (buffer, buffer.copy()) for name, buffer in cache.memory.buffers.items()}
    allocated: list[int] = []

    def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        if allocated:
            raise MemoryError
        allocated.append(1)
        return np.zeros(shape, dtype)

    monkeypatch.setattr(host_memory.np, "empty", empty)
    with pytest.raises(CapacityError, match=r"no memory for .* GiB of keys and values: fewer slots or a shorter"):
        cache.ensure(5, 64)
    assert (cache.slots, cache.length) == (3, 64)
    for name, (buffer, content) in before.items():
        assert cache.memory.buffers[name] is buffer
        np.testing.assert_array_equal(buffer, content)


def test_copy_and_move() -> None:
    """Only the positions that were named move; a permutation, a broadcast of one row, and rows that stay."""
    cache = filled(4)
    before = {name: buffer.copy() for name, buffer in cache.memory.buffers.items()}
    cache.copy(2, 0, 5)
    for name, buffer in cache.memory.buffers.items():
        np.testing.assert_array_equal(buffer[0, :, :5], before[name][2, :, :5])
        np.testing.assert_array_equal(buffer[0, :, 5:], before[name][0, :, 5:])
    for rows in ([1, 0, 2, 3], [2, 2, 2, 2], [0, 1, 2, 3], [3, 0, 1, 2], [1, 1]):
        cache = filled(4)
        cache.move([Move(source, target, 2, 7) for target, source in enumerate(rows) if source != target])
        for name, buffer in cache.memory.buffers.items():
            np.testing.assert_array_equal(buffer[: len(rows), :, 2:7], before[name][rows, :, 2:7])
            np.testing.assert_array_equal(buffer[:, :, :2], before[name][:, :, :2])
            np.testing.assert_array_equal(buffer[:, :, 7:], before[name][:, :, 7:])


# ---- the runner


def stepwise(runner: SlotRunner, slot: int, ids: np.ndarray) -> np.ndarray:
    """Logits `[tokens, vocab]`, one token at a time, in a slot that must be the only one under way."""
    assert slot == 0
    first = runner.prefill(0, ids[:1])[0]
    return np.stack([first, *(runner.decode(np.array([token])).copy()[0] for token in ids[1:])])


def test_whole_texts_and_single_steps_agree(make: Callable[..., SlotRunner]) -> None:
    runner, ids = make(1), prompt(90)
    whole = runner.score(ids)
    assert whole.shape == (90, VOCAB) and whole.dtype == np.float32
    runner.reserve(1, 90)
    np.testing.assert_allclose(stepwise(runner, 0, ids), whole, **CLOSE)
    assert runner.lengths[0] == 90


def overwrite(runner: SlotRunner, content: float) -> None:
    """All of the memory, wherever it is."""
    cache = runner.cache
    for slot in range(cache.slots):
        for name, heads, head_dim in cache.arrays:
            values = np.full((1, heads, cache.length, head_dim), content, np.float32)
            given: Any = values if runner.device is None else ort.OrtValue.ortvalue_from_numpy(values)
            cache.memory.fill(slot, name, given)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30, -7.0])
def test_garbage_in_reused_slots(make: Callable[..., SlotRunner], garbage: float) -> None:
    """Memory comes uninitialised and slots are never cleared: nothing beyond a row's length may count."""
    runner = make(4)
    expected = [make(1).score(prompt(n))[-3:] for n in (5, 23, 22, 90)]
    runner.reserve(4, CONTEXT)
    overwrite(runner, garbage)
    found = [runner.prefill(0, prompt(5)[:-2]).copy()]
    found.append(runner.prefill_together(1, [prompt(23)[:-2], prompt(22)[:-2]]).copy())
    found.append(runner.prefill(3, prompt(90)[:-2]).copy())
    steps = [np.concatenate(found)]
    for column in (-2, -1):
        steps.append(runner.decode(np.array([prompt(n)[column] for n in (5, 23, 22, 90)])).copy())
    np.testing.assert_allclose(np.stack(steps, 1), np.stack(expected), **CLOSE)


@pytest.mark.parametrize("chunk", [1, 7, 64, 512])
def test_prompts_in_chunks(make: Callable[..., SlotRunner], monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(slots_module, "PREFILL_CHUNK", chunk)
    runner, ids = make(2), prompt(64)
    runner.reserve(2, 80)
    np.testing.assert_allclose(runner.prefill(1, ids)[0], make(1).score(ids)[-1], **CLOSE)
    assert runner.lengths.tolist() == [0, 64, 0, 0][:2]


@pytest.mark.parametrize("start", [1, 30, 63])
def test_continuing_a_prefix(make: Callable[..., SlotRunner], start: int) -> None:
    """A prefix that is in the slot is not run again, nor anything after it kept."""
    runner, ids = make(2), prompt(64)
    runner.reserve(2, 100)
    runner.prefill(1, np.concatenate([ids[:start], prompt(30, 9)]))
    np.testing.assert_allclose(runner.prefill(1, ids[start:], start)[0], make(1).score(ids)[-1], **CLOSE)
    assert runner.lengths[1] == 64


@pytest.mark.parametrize("lengths", [[1, 1], [3, 1, 2], [40, 40, 40, 40], [1, 200]])
def test_prompts_of_different_lengths_together(make: Callable[..., SlotRunner], lengths: list[int]) -> None:
    runner = make(6)
    runner.reserve(6, CONTEXT)
    prompts = [prompt(length, n) for n, length in enumerate(lengths)]
    found = runner.prefill_together(2, prompts).copy()
    np.testing.assert_allclose(found, np.stack([make(1).score(ids)[-1] for ids in prompts]), **CLOSE)
    assert runner.lengths[2 : 2 + len(lengths)].tolist() == lengths


def test_growing_in_mid_flight(make: Callable[..., SlotRunner]) -> None:
    """More rows than there were, while the first one decodes: its bindings move with its memory."""
    runner, ids, other = make(4), prompt(60), prompt(7, 1)
    expected, expected_other = make(1).score(ids), make(1).score(other)
    runner.reserve(1, 70)
    runner.prefill(0, ids[:40])
    np.testing.assert_allclose(runner.decode(ids[40:41])[0], expected[40], **CLOSE)
    runner.reserve(3, 250)
    np.testing.assert_allclose(runner.decode(ids[41:42])[0], expected[41], **CLOSE)
    runner.prefill(1, other[:5])
    for step in range(2):
        found = runner.decode(np.array([ids[42 + step], other[5 + step]]))
        np.testing.assert_allclose(found, np.stack([expected[42 + step], expected_other[5 + step]]), **CLOSE)


def test_copied_and_reordered_rows_go_on(make: Callable[..., SlotRunner]) -> None:
    runner, texts = make(3), [prompt(20, n) for n in range(3)]
    expected = [make(1).score(ids) for ids in texts]
    runner.reserve(3, 30)
    for row, ids in enumerate(texts):
        runner.prefill(row, ids[: 15 + row])
    runner.reorder([2, 0, 0])
    assert runner.lengths.tolist() == [17, 15, 15]
    found = runner.decode(np.array([texts[2][17], texts[0][15], texts[0][15]]))
    np.testing.assert_allclose(found, np.stack([expected[2][17], expected[0][15], expected[0][15]]), **CLOSE)
    runner.copy(0, 2)
    found = runner.decode(np.array([texts[2][18], texts[0][16], texts[2][18]]))
    np.testing.assert_allclose(found, np.stack([expected[2][18], expected[0][16], expected[2][18]]), **CLOSE)


def test_the_longest_prompt(make: Callable[..., SlotRunner]) -> None:
    """All but one position; the next step reads the last one, and no step is left after it."""
    runner, ids = make(1), prompt(CONTEXT)
    runner.reserve(1, CONTEXT)
    expected = make(1).score(ids)
    np.testing.assert_allclose(runner.prefill(0, ids[:-1])[0], expected[-2], **CLOSE)
    np.testing.assert_allclose(runner.decode(ids[-1:])[0], expected[-1], **CLOSE)
    assert runner.lengths[0] == CONTEXT


def test_limits_of_the_runner(make: Callable[..., SlotRunner]) -> None:
    runner = make(2, 50)
    assert (runner.slots, runner.max_length, runner.vocab_size) == (2, 50, VOCAB)
    with pytest.raises(CapacityError, match="3 slots of 10 tokens were asked for, the limit is 2 of 50"):
        runner.reserve(3, 10)
    with pytest.raises(CapacityError, match="1 slots of 51 tokens"):
        runner.score(prompt(51))
