"""The scheduler, on the runner of a real bundle: whatever else is under way, every sequence gets what it gets alone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import open_bundle
from runtime.errors import CapacityError, InputError
from runtime.generation.config import resolve
from runtime.generation.engine import Engine
from runtime.generation.model import LanguageModel, open_runner
from runtime.generation.prompt_reader import little_padding
from runtime.generation.sequence import Sequence
from tests.device import MEMORIES, open_model

CONTEXT = 256
PATIENCE = 60  # seconds to wait for a thread before a test fails
NEVER = -1  # an end token that never comes


class Case:
    """A request, and what it gives when it has a runner for itself."""

    def __init__(self, alone: LanguageModel, prompt: np.ndarray, **options: Any) -> None:
        self.prompt = prompt
        self.config = resolve({}, **{"eos_token_id": NEVER, **options})
        sequence = alone.request(prompt, self.config)
        alone.engine.run([sequence])
        self.tokens, self.reason = sequence.tokens, sequence.finish_reason

    def request(self, model: LanguageModel) -> Sequence:
        return model.request(self.prompt, self.config)


@pytest.fixture(scope="module")
def bundle(causal_lm_bundle: Path) -> Any:
    return open_bundle(causal_lm_bundle, verify=False)


@pytest.fixture(params=MEMORIES)
def make(bundle: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., LanguageModel]]:
    """Makes models with runners of their own, and closes them."""
    made: list[LanguageModel] = []

    def make_model(slots: int = 3, max_length: int | None = None) -> LanguageModel:
        made.append(open_model(request.param, bundle, slots, max_length))
        return made[-1]

    yield make_model
    for model in made:
        model.close()


@pytest.fixture(scope="module")
def alone(bundle: Any) -> LanguageModel:
    """A model for one sequence at a time."""
    return LanguageModel(open_runner(bundle, "cpu", 1, 1, None))


def prompt(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([length, seed]).integers(1, 2048, length)


def random_case(alone: LanguageModel, random: np.random.Generator) -> Case:
    """Any prompt, greedy or sampled, with or without processors, any number of new tokens."""
    options: dict[str, Any] = {"max_new_tokens": int(random.integers(1, 40))}
    if random.random() < 0.3:
        options |= {"do_sample": True, "seed": int(random.integers(99))}
    if random.random() < 0.3:
        options["repetition_penalty"] = 1.3
    length = int(random.choice([1, 2, 5, 30, 31, 100, 200]))
    return Case(alone, prompt(length, int(random.integers(1000))), **options)


def assert_rows_are_contiguous(engine: Engine) -> None:
    assert [sequence.slot for sequence in engine.active] == list(range(len(engine.active)))
    assert all(sequence.slot is None for sequence in engine.waiting)


# ---- as if alone


def test_more_requests_than_slots(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    cases = [Case(alone, prompt(1 + 7 * n), max_new_tokens=3 + 5 * (n % 4)) for n in range(11)]
    model = make(slots=3)
    sequences = [case.request(model) for case in cases]
    model.engine.run(sequences)
    assert [sequence.tokens for sequence in sequences] == [case.tokens for case in cases]
    assert [sequence.finish_reason for sequence in sequences] == [case.reason for case in cases] == ["length"] * 11
    assert not model.engine.busy


@pytest.mark.parametrize("seed", range(3))
def test_random_arrivals_and_cancellations(make: Callable[..., LanguageModel], alone: LanguageModel, seed: int) -> None:
    """64 requests that come and go while others run: tokens of those that end, a prefix of them when cancelled."""
    random = np.random.default_rng(seed)
    cases = [random_case(alone, random) for _ in range(64)]
    model = make(slots=5)
    engine, sent, cancelled = model.engine, list[Sequence](), set[int]()
    engine.candidates = seed == 2  # some tokens are chosen from the graph's candidates, others need all logits
    while len(sent) < len(cases) or engine.busy:
        for _ in range(int(random.integers(0, 4))):
            if len(sent) < len(cases):
                sent.append(engine.submit(cases[len(sent)].request(model)))
        if sent and random.random() < 0.15:
            index = int(random.integers(len(sent)))
            sent[index].cancel()
            cancelled.add(index)
        engine.step()
        assert_rows_are_contiguous(engine)
    stopped = [index for index, sequence in enumerate(sent) if sequence.finish_reason == "cancelled"]
    assert stopped and set(stopped) <= cancelled
    for index, (case, sequence) in enumerate(zip(cases, sent, strict=True)):
        tokens = case.tokens[: len(sequence.tokens)] if index in stopped else case.tokens
        assert sequence.tokens == tokens, index
        assert sequence.done.is_set() and sequence.slot is None


def test_growing_memory_in_mid_flight(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    """Rows and positions are added while others run; what they hold moves along."""
    cases = [Case(alone, prompt(4), max_new_tokens=30), Case(alone, prompt(9), max_new_tokens=20)]
    cases += [Case(alone, prompt(20 * n), max_new_tokens=25) for n in range(1, 6)]
    model = make(slots=8)
    cache = model.runner.cache  # type: ignore[attr-defined]
    sizes = set()
    sequences = []
    for case in cases:
        sequences.append(model.engine.submit(case.request(model)))
        model.engine.step()
        model.engine.step()
        sizes.add(cache.slots)
    model.engine.run([])
    while model.engine.busy:
        model.engine.step()
    assert len(sizes) > 2, "the memory should have grown several times"
    assert [sequence.tokens for sequence in sequences] == [case.tokens for case in cases]


def test_an_end_token_in_the_middle_of_a_batch(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    """Rows that end leave; the others move up and go on."""
    cases = [Case(alone, prompt(6, n), max_new_tokens=24) for n in range(4)]
    ends = [cases[1].tokens[7], cases[2].tokens[3]]
    cases = [Case(alone, case.prompt, max_new_tokens=24, eos_token_id=ends) for case in cases]
    assert "stop" in [case.reason for case in cases]
    model = make(slots=4)
    sequences = [case.request(model) for case in cases]
    model.engine.run(sequences)
    assert [sequence.tokens for sequence in sequences] == [case.tokens for case in cases]
    assert [sequence.finish_reason for sequence in sequences] == [case.reason for case in cases]
    assert all(s.tokens[-1] in ends for s in sequences if s.finish_reason == "stop")


@pytest.mark.parametrize("length", [1, 2, CONTEXT - 2, CONTEXT - 1])
def test_shortest_and_longest_prompts(make: Callable[..., LanguageModel], alone: LanguageModel, length: int) -> None:
    """Up to the last position, which takes the last token that can be read."""
    cases = [Case(alone, prompt(length, n), max_new_tokens=50) for n in range(3)]
    model = make(slots=2)
    sequences = [case.request(model) for case in cases]
    model.engine.run(sequences)
    assert [sequence.tokens for sequence in sequences] == [case.tokens for case in cases]
    assert len(sequences[0].tokens) == min(50, CONTEXT - length)
    assert sequences[0].finish_reason == "length"


def test_a_shorter_context_of_ones_own(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    case = Case(alone, prompt(30), max_new_tokens=50)
    model = make(max_length=40)
    sequence = case.request(model)
    model.engine.run([sequence])
    assert sequence.tokens == case.tokens[:10]


# ---- what is refused


def test_prompts_that_can_never_run(make: Callable[..., LanguageModel]) -> None:
    """Nothing of a batch is queued when one of its prompts cannot run."""
    model = make()
    config = resolve({}, max_new_tokens=3)
    with pytest.raises(InputError, match=f"the prompt has {CONTEXT} tokens, the model's context holds {CONTEXT}"):
        model.engine.run([model.request(prompt(5), config), model.request(prompt(CONTEXT), config)])
    with pytest.raises(InputError, match="the prompt is empty"):
        model.engine.submit(model.request(prompt(0), config))
    assert not model.engine.busy


def test_a_full_queue(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    """Refuses one more, runs those it has, and takes new ones then. A caller's own list may be longer."""
    case = Case(alone, prompt(3), max_new_tokens=2)
    model = make(slots=2)
    model.engine.max_waiting = 4
    sequences = [model.engine.submit(case.request(model)) for _ in range(4)]
    with pytest.raises(CapacityError, match="4 requests are waiting already: try again later"):
        model.engine.submit(case.request(model))
    model.engine.run([case.request(model) for _ in range(9)])
    assert all(sequence.tokens == case.tokens for sequence in sequences)
    model.engine.submit(case.request(model))


# ---- faults


class Faulty:
    """A runner that raises when told to, and passes everything else on."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner
        self.raises: dict[str, BaseException] = {}

    def __getattr__(self, name: str) -> Any:
        error = self.raises.pop(name, None)
        if error is not None:
            raise error
        return getattr(self.runner, name)


@pytest.fixture
def faulty(make: Callable[..., LanguageModel]) -> LanguageModel:
    return LanguageModel(Faulty(make(slots=2).runner))


def start(model: LanguageModel, cases: list[Case], steps: int = 2) -> list[Sequence]:
    sequences = [model.engine.submit(case.request(model)) for case in cases]
    for _ in range(steps):
        model.engine.step()
    return sequences


def drain(model: LanguageModel) -> None:
    while model.engine.busy:
        model.engine.step()


def test_a_failing_step_ends_those_in_it(faulty: LanguageModel, alone: LanguageModel) -> None:
    """The two that decode end with the error; the third, which waited, runs as if nothing had been."""
    case = Case(alone, prompt(5), max_new_tokens=9)
    sequences = start(faulty, [case] * 3)
    faulty.runner.raises["decode"] = error = RuntimeError("the device is lost")  # type: ignore[attr-defined]
    drain(faulty)
    assert [sequence.finish_reason for sequence in sequences] == ["error", "error", "length"]
    assert [sequence.error for sequence in sequences] == [error, error, None]
    assert sequences[2].tokens == case.tokens
    with pytest.raises(RuntimeError, match="the device is lost"):
        list(sequences[0].events())


@pytest.mark.parametrize("method", ["prefill_each", "reserve"])
def test_a_failing_prompt_does_not_touch_the_others(faulty: LanguageModel, alone: LanguageModel, method: str) -> None:
    case = Case(alone, prompt(5), max_new_tokens=9)
    running = start(faulty, [case])
    faulty.runner.raises[method] = CapacityError("no memory")  # type: ignore[attr-defined]
    failing = start(faulty, [case], steps=1)
    later = start(faulty, [case], steps=1)
    drain(faulty)
    assert [sequence.finish_reason for sequence in running + failing + later] == ["length", "error", "length"]
    assert running[0].tokens == later[0].tokens == case.tokens


def test_run_raises_the_error(faulty: LanguageModel, alone: LanguageModel) -> None:
    case = Case(alone, prompt(5), max_new_tokens=9)
    faulty.runner.raises["decode"] = RuntimeError("the device is lost")  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="the device is lost"):
        faulty.engine.run([case.request(faulty)])
    sequence = case.request(faulty)
    faulty.engine.run([sequence])
    assert sequence.tokens == case.tokens


def test_a_failing_sampler_ends_its_own_sequence(faulty: LanguageModel, alone: LanguageModel) -> None:
    """One request whose parameters forbid every token, among others."""
    case = Case(alone, prompt(5), max_new_tokens=9)
    impossible = resolve({}, do_sample=True, seed=0, suppress_tokens=list(range(2048)))
    broken = faulty.engine.submit(faulty.request(prompt(4), impossible))
    healthy = start(faulty, [case])
    drain(faulty)
    assert (broken.finish_reason, healthy[0].finish_reason) == ("error", "length")
    assert isinstance(broken.error, InputError)
    assert healthy[0].tokens == case.tokens


def test_an_interrupt_leaves_nothing_behind(faulty: LanguageModel, alone: LanguageModel) -> None:
    """Ctrl-C in a call: its sequences are dropped at the next step instead of running on for nobody."""
    case = Case(alone, prompt(5), max_new_tokens=200)
    sequences = [case.request(faulty) for _ in range(4)]
    faulty.runner.raises["decode"] = KeyboardInterrupt()  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        faulty.engine.run(sequences)
    faulty.engine.step()
    assert not faulty.engine.busy
    assert {sequence.finish_reason for sequence in sequences} == {"cancelled"}


# ---- long prompts


def test_a_long_prompt_does_not_keep_others_waiting(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    """Those that decode get a token in every step, while a prompt is read chunk by chunk."""
    cases = [Case(alone, prompt(6, n), max_new_tokens=40) for n in range(2)]
    long = [Case(alone, prompt(200, n), max_new_tokens=10) for n in range(2)]
    model = make(slots=4)
    model.engine.chunk = 16
    first = start(model, cases, steps=1)
    second = start(model, long, steps=0)
    for _ in range(20):
        before = [len(sequence.tokens) for sequence in first]
        model.engine.step()
        assert [len(sequence.tokens) for sequence in first] == [count + 1 for count in before]
        assert_rows_are_contiguous(model.engine)
    assert [len(sequence.tokens) > 0 for sequence in second] == [True, False]
    drain(model)
    assert [s.tokens for s in first + second] == [case.tokens for case in cases + long]


@pytest.mark.parametrize("seed", range(2))
def test_chunks_at_random(make: Callable[..., LanguageModel], alone: LanguageModel, seed: int) -> None:
    """Rows end and are cancelled, also those whose prompts are half read, while others are read."""
    random = np.random.default_rng([seed, 7])
    cases = [random_case(alone, random) for _ in range(40)]
    model = make(slots=5)
    model.engine.chunk = 8
    sent: list[Sequence] = []
    while len(sent) < len(cases) or model.engine.busy:
        if len(sent) < len(cases) and random.random() < 0.4:
            sent.append(model.engine.submit(cases[len(sent)].request(model)))
        if sent and random.random() < 0.1:
            sent[-int(random.integers(1, min(6, len(sent)) + 1))].cancel()
        model.engine.step()
        assert_rows_are_contiguous(model.engine)
    assert any(sequence.cancelled for sequence in sent)
    for case, sequence in zip(cases, sent, strict=True):
        stopped = sequence.finish_reason == "cancelled"
        assert sequence.tokens == (case.tokens[: len(sequence.tokens)] if stopped else case.tokens)


def test_a_short_prompt_overtakes_a_long_one(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    """It has its first token long before the long one is read, which goes on in every other step."""
    cases = [Case(alone, prompt(6), max_new_tokens=60), Case(alone, prompt(200), max_new_tokens=10)]
    cases += [Case(alone, prompt(9, n), max_new_tokens=30) for n in range(3)]
    model = make(slots=5)
    model.engine.chunk = 16
    sequences = start(model, cases[:2], steps=3)
    sequences += start(model, cases[2:], steps=0)
    for _ in range(6):
        model.engine.step()
        assert_rows_are_contiguous(model.engine)
    assert [len(sequence.tokens) > 0 for sequence in sequences] == [True, False, True, True, True]
    assert len(model.runner.held(4)) == 16 * 5, "two chunks at first, and three in six steps"
    drain(model)
    assert [sequence.tokens for sequence in sequences] == [case.tokens for case in cases]


@pytest.mark.parametrize("order", range(6))
def test_long_and_short_prompts_that_wait_together(
    make: Callable[..., LanguageModel], alone: LanguageModel, order: int
) -> None:
    """Whatever their order: short ones share a run, long ones come chunk by chunk, known ones go on from a slot."""
    lengths = list(itertools.permutations([5, 100, 40]))[order] * 2
    cases = [Case(alone, prompt(length, n), max_new_tokens=9) for n, length in enumerate(lengths)]
    cases += [Case(alone, np.concatenate([case.prompt, prompt(7)]), max_new_tokens=5) for case in cases[:3]]
    model = make(slots=5)
    model.engine.chunk = 16
    sequences = start(model, cases, steps=0)
    while model.engine.busy:
        model.engine.step()
        assert_rows_are_contiguous(model.engine)
    assert [sequence.tokens for sequence in sequences] == [case.tokens for case in cases]


def test_a_failing_chunk(faulty: LanguageModel, alone: LanguageModel) -> None:
    """The prompt that was being read ends with the error; the one that decodes goes on, and so does the engine."""
    case, long = Case(alone, prompt(6), max_new_tokens=30), Case(alone, prompt(100), max_new_tokens=5)
    faulty.engine.chunk = 16
    running = start(faulty, [case])
    failing = start(faulty, [long], steps=2)
    faulty.runner.raises["prefill"] = RuntimeError("the device is lost")  # type: ignore[attr-defined]
    faulty.engine.step()
    later = start(faulty, [long], steps=1)
    drain(faulty)
    assert [s.finish_reason for s in running + failing + later] == ["length", "error", "length"]
    assert (running[0].tokens, later[0].tokens) == (case.tokens, long.tokens)


def test_a_failing_first_chunk_among_others(faulty: LanguageModel, alone: LanguageModel) -> None:
    """A long prompt that fails at once, and a short one behind it in the same step."""
    short, long = Case(alone, prompt(6), max_new_tokens=12), Case(alone, prompt(100), max_new_tokens=5)
    faulty.engine.chunk = 16
    faulty.runner.raises["reserve"] = CapacityError("no memory")  # type: ignore[attr-defined]
    sequences = start(faulty, [long, short, long], steps=0)
    drain(faulty)
    assert [sequence.finish_reason for sequence in sequences] == ["error", "length", "length"]
    assert [sequence.tokens for sequence in sequences[1:]] == [short.tokens, long.tokens]


def test_memory_is_stated_up_front(make: Callable[..., LanguageModel]) -> None:
    """Nothing is taken at first; the limit is what all slots take at their longest."""
    model = make(slots=3, max_length=100)
    before = model.engine.memory()
    assert (before.slots, before.max_length, before.allocated) == (3, 100, 0)
    model.runner.reserve(3, 100)
    after = model.engine.memory()
    assert after.allocated == before.limit == after.limit


# ---- threads


def test_the_thread_survives_errors(faulty: LanguageModel, alone: LanguageModel) -> None:
    case = Case(alone, prompt(5), max_new_tokens=9)
    faulty.engine.start()
    faulty.runner.raises["prefill_each"] = RuntimeError("the device is lost")  # type: ignore[attr-defined]
    first = faulty.engine.submit(case.request(faulty))
    assert first.done.wait(PATIENCE) and first.finish_reason == "error"
    second = faulty.engine.submit(case.request(faulty))
    assert list(second.events()) == case.tokens
    faulty.engine.close()


def test_start_twice_is_one_thread(make: Callable[..., LanguageModel]) -> None:
    engine = make().engine
    engine.start()
    thread = engine._thread
    engine.start()
    assert engine._thread is thread
    engine.close()
    assert thread is not None and not thread.is_alive()


def test_run_beside_the_thread(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    """Callers drive steps of their own while the thread serves submitted sequences."""
    cases = [Case(alone, prompt(3 + n), max_new_tokens=10 + n) for n in range(6)]
    model = make(slots=2)
    model.engine.start()
    found: dict[int, list[int]] = {}

    def call(index: int) -> None:
        sequence = cases[index].request(model)
        if index % 2:
            model.engine.run([sequence])
        else:
            model.engine.submit(sequence).done.wait(PATIENCE)
        found[index] = sequence.tokens

    threads = [threading.Thread(target=call, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == {index: case.tokens for index, case in enumerate(cases)}


def test_having_the_runner_alone(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    """Those under way finish, nobody is admitted into the slots they leave; those that wait go on afterwards."""
    cases = [Case(alone, prompt(5, n), max_new_tokens=new) for n, new in enumerate((9, 25, 9, 9))]
    model = make(slots=2)
    sequences = start(model, cases)
    with model.engine.exclusive():
        assert [sequence.finish_reason for sequence in sequences] == ["length", "length", None, None]
        assert not model.engine.active and len(model.engine.waiting) == 2
        model.runner.prefill(0, prompt(50))
        model.runner.prefill(1, prompt(60))
    drain(model)
    assert [sequence.tokens for sequence in sequences] == [case.tokens for case in cases]


def test_close_cancels(make: Callable[..., LanguageModel], alone: LanguageModel) -> None:
    case = Case(alone, prompt(5), max_new_tokens=9)
    model = make(slots=2)
    sequences = start(model, [case] * 4)
    model.engine.close()
    assert [sequence.finish_reason for sequence in sequences] == ["cancelled"] * 4
    assert not model.engine.busy
    again = case.request(model)
    model.engine.run([again])
    assert again.tokens == case.tokens


@pytest.mark.parametrize(
    ("lengths", "little"), [([5], True), ([5, 5], True), ([8, 5], True), ([1, 100], False), ([3, 4, 4, 4], True)]
)
def test_prompts_of_like_lengths_run_together(lengths: list[int], little: bool) -> None:
    """Padding may be a quarter of the work."""
    assert little_padding([np.zeros(length, np.int64) for length in lengths]) is little
