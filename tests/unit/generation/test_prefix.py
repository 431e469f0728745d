"""Prefix reuse: what a slot holds is not computed again, and no token differs for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle import open_bundle
from runtime.generation.config import resolve
from runtime.generation.model import LanguageModel
from runtime.generation.prefix import MIN_REUSE, common
from runtime.generation.sequence import Sequence
from runtime.generation.statistics import Statistics
from tests.device import MEMORIES, open_model

VOCAB = 2048


def prompt(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([length, seed]).integers(1, VOCAB, length)


def joined(*parts: Any) -> np.ndarray:
    return np.concatenate([np.asarray(part, np.int64) for part in parts])


@pytest.fixture(scope="module")
def bundle(causal_lm_bundle: Path) -> Any:
    return open_bundle(causal_lm_bundle, verify=False)


@pytest.fixture(params=MEMORIES)
def make(bundle: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., LanguageModel]]:
    made: list[LanguageModel] = []

    def make_model(slots: int = 3) -> LanguageModel:
        made.append(open_model(request.param, bundle, slots))
        return made[-1]

    yield make_model
    for model in made:
        model.close()


def request(model: LanguageModel, ids: np.ndarray, count: int = 8) -> Sequence:
    return model.request(ids, resolve({}, max_new_tokens=count, eos_token_id=-1))


def fresh(make: Callable[..., LanguageModel], ids: np.ndarray, count: int = 8) -> list[int]:
    """The tokens of a runner that has seen nothing else."""
    model = make(1)
    sequence = request(model, ids, count)
    model.engine.run([sequence])
    assert model.engine.statistics().prefix_hits == 0
    return sequence.tokens


def run(model: LanguageModel, ids: np.ndarray, count: int = 8) -> tuple[list[int], int]:
    """Its tokens, and how many of the prompt's were reused."""
    before = model.engine.statistics().reused_tokens
    sequence = request(model, ids, count)
    model.engine.run([sequence])
    return sequence.tokens, model.engine.statistics().reused_tokens - before


@given(st.lists(st.integers(0, 2), max_size=12), st.lists(st.integers(0, 2), max_size=12))
def test_common(one: list[int], other: list[int]) -> None:
    expected = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    assert common(np.array(one, np.int32), np.array(other, np.int64)) == expected


def test_a_conversation(make: Callable[..., LanguageModel]) -> None:
    """Each turn repeats all that was said, the answers included: only what is new is read."""
    model, history = make(1), prompt(50)
    for turn in range(3):
        tokens, reused = run(model, history)
        assert tokens == fresh(make, history)
        # All that the turn before left in the slot; its last token was never read.
        assert reused == (0 if turn == 0 else len(history) - 12 - 1)
        history = joined(history, tokens, prompt(12, turn))
    assert model.engine.statistics().prefix_hits == 2


def test_the_same_prompt_again(make: Callable[..., LanguageModel]) -> None:
    """All but its last token, whose logits are needed."""
    model, ids = make(1), prompt(80)
    expected = fresh(make, ids)
    assert [run(model, ids) for _ in range(3)] == [(expected, 0), (expected, 79), (expected, 79)]


def test_a_shared_beginning(make: Callable[..., LanguageModel]) -> None:
    """Copied from a slot that goes on decoding, and from one that has retired."""
    model, system = make(3), prompt(100)
    prompts = [joined(system, prompt(9, n)) for n in range(4)]
    first = model.engine.submit(request(model, prompts[0], 40))
    model.engine.step()
    second = model.engine.submit(request(model, prompts[1], 30))
    model.engine.step()
    assert model.engine.statistics().reused_tokens == 100
    while model.engine.busy:
        model.engine.step()
    assert run(model, prompts[2]) == (fresh(make, prompts[2]), 100)
    assert [first.tokens, second.tokens] == [fresh(make, prompts[0], 40), fresh(make, prompts[1], 30)]


def test_prompts_that_arrive_together(make: Callable[..., LanguageModel]) -> None:
    """The second and third wait for the first, instead of reading the same beginning in the same run."""
    model, system = make(4), prompt(100)
    prompts = [joined(system, prompt(9, n)) for n in range(3)]
    sequences = [request(model, ids) for ids in prompts]
    model.engine.run(sequences)
    assert [sequence.tokens for sequence in sequences] == [fresh(make, ids) for ids in prompts]
    assert model.engine.statistics().reused_tokens == 200


def test_several_answers_to_one_prompt(make: Callable[..., LanguageModel]) -> None:
    """The prompt is read once; each row then draws its own."""
    model = make(4)
    config = resolve({}, max_new_tokens=6, do_sample=True, seed=3, num_return_sequences=4, eos_token_id=-1)
    found = model.generate([prompt(40)], config)[0]
    assert model.engine.statistics().prefill_runs == 1
    alone = make(1)
    expected = [alone.request(prompt(40), config, row=row) for row in range(4)]
    alone.engine.run(expected)
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert len({tuple(one.tokens) for one in found}) > 1


def test_two_conversations_in_turn(make: Callable[..., LanguageModel]) -> None:
    """Both stay where slots have memory: retired contents move aside, the least recently used go first."""
    model = make(3)
    model.runner.reserve(3, 200)
    histories = [prompt(60, 1), prompt(60, 2)]
    for turn in range(3):
        for person in range(2):
            tokens, reused = run(model, histories[person])
            assert tokens == fresh(make, histories[person])
            assert (reused > 0) == (turn > 0)
            histories[person] = joined(histories[person], tokens, prompt(5, turn))


def test_little_is_not_worth_it(make: Callable[..., LanguageModel]) -> None:
    """A start token that all prompts share must not tear their common run apart."""
    model, start = make(2), prompt(MIN_REUSE - 1)
    run(model, joined(start, prompt(30, 1)))
    assert run(model, joined(start, prompt(30, 2)))[1] == 0


def test_memory_does_not_grow_for_it(make: Callable[..., LanguageModel]) -> None:
    model = make(8)
    for seed in range(5):
        run(model, prompt(60, seed))
    assert model.runner.allocated == 1
    memory = model.engine.memory()
    assert memory.limit is not None and memory.allocated == memory.limit // 8, "one slot of eight, at full length"


def test_the_runner_used_by_others(make: Callable[..., LanguageModel]) -> None:
    """Beams and scores write into the same slots; what they leave is known as what it is."""
    model, ids = make(3), prompt(70)
    run(model, ids)
    model.runner.score(prompt(90, 5))  # type: ignore[attr-defined]
    assert run(model, ids) == (fresh(make, ids), 0)
    model.generate([ids], resolve({}, num_beams=3, max_new_tokens=5))
    assert run(model, ids)[0] == fresh(make, ids)
    assert run(model, prompt(90, 5))[0] == fresh(make, prompt(90, 5))


@pytest.mark.parametrize("seed", range(4))
def test_at_random(make: Callable[..., LanguageModel], seed: int) -> None:
    """Prompts from a tree of beginnings, arrivals and cancellations in between: every one gets what it gets alone."""
    random = np.random.default_rng(seed)
    roots = [prompt(int(n), 7) for n in (40, 64, 100)]
    stems = [joined(roots[int(random.integers(3))], prompt(int(random.integers(1, 60)), n)) for n in range(5)]
    prompts = [joined(stems[int(random.integers(5))], prompt(int(random.integers(1, 20)), n)) for n in range(24)]
    prompts[3], prompts[9] = prompts[1], stems[0]
    expected = [fresh(make, ids, 12) for ids in prompts]
    model = make(4)
    sent: list[Sequence] = []
    while len(sent) < len(prompts) or model.engine.busy:
        for _ in range(int(random.integers(0, 3))):
            if len(sent) < len(prompts):
                sent.append(model.engine.submit(request(model, prompts[len(sent)], 12)))
        if sent and random.random() < 0.1:
            sent[int(random.integers(len(sent)))].cancel()
        model.engine.step()
    for sequence, tokens in zip(sent, expected, strict=True):
        assert sequence.tokens == tokens[: len(sequence.tokens)]
        assert len(sequence.tokens) == 12 or sequence.cancelled
    assert model.engine.statistics().prefix_hits > 5


def test_statistics(make: Callable[..., LanguageModel]) -> None:
    model = make(2)
    assert model.engine.statistics() == Statistics(2, 0, 0, 0, {}, 0, 0, 0, 0, 0, 0, 0, 0)
    sequences = [model.engine.submit(request(model, prompt(40), n)) for n in (3, 5, 4)]
    model.engine.step()
    now = model.engine.statistics()
    assert (now.slots, now.active, now.waiting, now.requests) == (2, 2, 1, 3)
    assert (now.prompt_tokens, now.generated_tokens, now.decode_steps, now.prefill_runs) == (80, 4, 1, 1)
    sequences[1].cancel()
    while model.engine.busy:
        model.engine.step()
    end = model.engine.statistics()
    assert end.finished == {"length": 2, "cancelled": 1}
    assert (end.active, end.waiting, end.prompt_tokens) == (0, 0, 120)
    assert (end.prefix_hits, end.reused_tokens) == (1, 39)
    assert end.generated_tokens == sum(len(sequence.tokens) for sequence in sequences)
