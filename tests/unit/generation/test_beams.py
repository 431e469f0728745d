"""Beams of several prompts in one run: each prompt's as if it were alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Cancellation
from runtime.bundle import open_bundle
from runtime.errors import CancelledError, CapacityError, InputError
from runtime.generation.config import resolve
from runtime.generation.model import LanguageModel
from tests.device import MEMORIES, open_model


@pytest.fixture(scope="module", params=MEMORIES)
def make(causal_lm_bundle: Path, request: pytest.FixtureRequest) -> Callable[[int], LanguageModel]:
    bundle = open_bundle(causal_lm_bundle, verify=False)
    return lambda slots: open_model(request.param, bundle, slots)


def prompt(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([length, seed]).integers(1, 2048, length)


def ids_of(groups: list[list[Any]]) -> list[list[list[int]]]:
    return [[beam.ids for beam in group] for group in groups]


# Lengths that are read in one run, and that are not; searches that end at different steps.
LENGTHS = [[12, 12, 12], [30, 31, 29, 32, 30], [3, 90, 17], [1, 1]]
OPTIONS: list[dict[str, Any]] = [
    {"num_beams": 2, "max_new_tokens": 12},
    {"num_beams": 3, "max_new_tokens": 20, "num_return_sequences": 2, "eos_token_id": list(range(0, 2048, 7))},
    {"num_beams": 4, "max_new_tokens": 15, "early_stopping": True, "eos_token_id": list(range(0, 2048, 3))},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: f"{options['num_beams']} beams")
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_as_if_alone(make: Callable[[int], LanguageModel], lengths: list[int], options: dict[str, Any]) -> None:
    config = resolve({}, **options)
    prompts = [prompt(length, n) for n, length in enumerate(lengths)]
    alone = make(config.num_beams)
    expected = [alone.generate([ids], config)[0] for ids in prompts]
    for slots in (8, 13):
        found = make(slots).generate(prompts, config)
        assert ids_of(found) == ids_of(expected)
        assert [[b.finish_reason for b in group] for group in found] == [
            [b.finish_reason for b in group] for group in expected
        ]


def test_runs_are_shared(make: Callable[[int], LanguageModel], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two prompts with four beams each are eight rows."""
    model, rows = make(8), []
    decode = model.runner.decode
    monkeypatch.setattr(
        model.runner, "decode", lambda tokens, best=False: rows.append(len(tokens)) or decode(tokens, best)
    )
    model.generate([prompt(9), prompt(9, 1), prompt(9, 2)], resolve({}, num_beams=4, max_new_tokens=6))
    assert rows == [8] * 5 + [4] * 5


def test_searches_are_counted(make: Callable[[int], LanguageModel], monkeypatch: pytest.MonkeyPatch) -> None:
    model, active = make(8), []
    decode = model.runner.decode
    monkeypatch.setattr(
        model.runner,
        "decode",
        lambda tokens, best=False: active.append(model.engine.statistics().active) or decode(tokens, best),
    )
    config = resolve({}, num_beams=4, num_return_sequences=2, max_new_tokens=6)
    found = model.generate([prompt(9), prompt(5)], config)
    counted = model.engine.statistics()
    assert set(active) == {8} and counted.active == 0
    assert (counted.requests, counted.prompt_tokens) == (4, 14)
    assert counted.generated_tokens == sum(len(beam.tokens) for group in found for beam in group)
    assert counted.finished == {"length": 4}


def test_a_cancelled_search_is_counted(make: Callable[[int], LanguageModel]) -> None:
    model = make(4)
    with Cancellation() as ending:
        ending.cancel()
        with pytest.raises(CancelledError):
            model.generate([prompt(9)], resolve({}, num_beams=4, max_new_tokens=6))
    assert model.engine.statistics().finished == {"cancelled": 1}


def test_only_what_differs_is_copied(make: Callable[[int], LanguageModel], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beams of one prompt share it: no reordering ever copies a position of the prompt."""
    model, starts = make(4), []
    cache = model.runner.cache  # type: ignore[attr-defined]
    move = cache.move
    monkeypatch.setattr(cache, "move", lambda moves: starts.extend(one.start for one in moves) or move(moves))
    model.generate([prompt(100)], resolve({}, num_beams=4, max_new_tokens=20, eos_token_id=-1))
    assert starts, "beams changed places"
    assert min(starts) >= 100


def test_what_is_refused(make: Callable[[int], LanguageModel]) -> None:
    with pytest.raises(CapacityError, match="5 beams need as many slots, there are 4: pass slots="):
        make(4).generate([prompt(3)], resolve({}, num_beams=5))
    with pytest.raises(InputError, match="the prompt has 256 tokens"):
        make(4).generate([prompt(3), prompt(256)], resolve({}, num_beams=2))


SEARCHES: list[dict[str, Any]] = [
    {"num_beams": 4},
    {"num_beams": 4, "do_sample": True, "seed": 3},
    {"num_return_sequences": 4, "do_sample": True, "seed": 3},
    {},
]


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_a_cancelled_call_ends_at_its_next_step(
    make: Callable[[int], LanguageModel], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    model, cancellation, runs = make(8), Cancellation(), []
    decode = model.runner.decode

    def count(tokens: np.ndarray, best: bool = False) -> Any:
        runs.append(len(tokens))
        if len(runs) == 3:
            cancellation.cancel()
        return decode(tokens, best)

    config = resolve({}, max_new_tokens=40, eos_token_id=-1, **options)
    expected = ids_of(model.generate([prompt(5)], config))
    monkeypatch.setattr(model.runner, "decode", count)
    with cancellation, pytest.raises(CancelledError, match="the call was cancelled"):
        model.generate([prompt(5), prompt(9)], config)
    assert len(runs) == 3
    # Nothing is left behind: the same model answers as before, and its slots are free.
    assert ids_of(model.generate([prompt(5)], config)) == expected
    assert model.engine.statistics().active == 0


def test_a_call_that_waits_for_another_ones_beams_can_be_cancelled(make: Callable[[int], LanguageModel]) -> None:
    model, cancellation = make(4), Cancellation()
    config = resolve({}, num_beams=2, max_new_tokens=4)

    def wait() -> None:
        with cancellation:
            model.generate([prompt(5)], config)

    with ThreadPoolExecutor(1) as pool, model.engine.exclusive():
        waiting = pool.submit(wait)
        cancellation.cancel()
        with pytest.raises(CancelledError):
            waiting.result(timeout=30)
