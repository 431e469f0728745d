"""Tokens chosen from the graph's candidates are those chosen from all logits, whatever is asked, ties and all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.candidates import candidate_graph
from runtime.bundle import open_bundle
from runtime.generation.candidates import Candidates, DeviceLogits, take
from runtime.generation.choice import _head
from runtime.generation.config import resolve
from runtime.generation.engine import Engine
from runtime.generation.logits import ROUNDING, greatest
from runtime.generation.model import LanguageModel, open_runner
from runtime.generation.processors import Rows
from runtime.generation.sampling import Sampler
from tests.device import MEMORIES, open_model

VOCABULARY = 2048
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy with log-probabilities": {"logprobs": 5},
    "top-k": {"do_sample": True, "top_k": 50},
    "top-k, top-p and a temperature": {"do_sample": True, "top_k": 63, "top_p": 0.9, "temperature": 0.7},
    "top-k, min-p and typical": {"do_sample": True, "top_k": 20, "min_p": 0.02, "typical_p": 0.95},
    "top-k of one": {"do_sample": True, "top_k": 1},
}
NEED_ALL: dict[str, dict[str, Any]] = {
    "a larger top-k": {"do_sample": True, "top_k": 64},
    "no top-k": {"do_sample": True, "top_k": 0, "top_p": 0.9},
    "a penalty": {"repetition_penalty": 1.2},
    "sampling with log-probabilities": {"do_sample": True, "top_k": 5, "logprobs": 2},
    "many log-probabilities": {"logprobs": 65},
}


@pytest.fixture(scope="module")
def bundle(causal_lm_bundle: Path) -> Any:
    return open_bundle(causal_lm_bundle, verify=False)


def model_of(bundle: Any, candidates: bool | None, memory: str = "host") -> LanguageModel:
    model = open_model(memory, bundle, 3)
    model.engine = Engine(model.runner, candidates=candidates)
    return model


def prompts() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(1, VOCABULARY, length) for length in (3, 17, 40)]


def answers(model: LanguageModel, **options: Any) -> list[Any]:
    config = resolve({}, max_new_tokens=12, seed=4, eos_token_id=None, **options)
    sequences = [model.request(ids, config, row=row) for row, ids in enumerate(prompts())]
    model.engine.run(sequences)
    return sequences


def counted(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each run that fetched candidates."""
    runs: list[int] = []
    step = DeviceLogits.step
    monkeypatch.setattr(DeviceLogits, "step", lambda self, rows: (runs.append(rows), step(self, rows))[1])
    return runs


def probabilities(sequence: Any) -> list[list[float]]:
    """The token's log-probability and those of its rivals, token by token; rounding may exchange rivals that tie."""
    return [[entry.logprob, *(value for _, value in entry.top)] for entry in sequence.logprobs]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("way", WAYS)
def test_as_from_all_logits(bundle: Any, monkeypatch: pytest.MonkeyPatch, way: str, memory: str) -> None:
    model = model_of(bundle, True, memory)
    steps = counted(model, monkeypatch)
    found, expected = answers(model, **WAYS[way]), answers(model_of(bundle, False), **WAYS[way])
    assert [each.tokens for each in found] == [each.tokens for each in expected]
    assert sum(steps) == 3 * 12  # the prompts' too
    for one, other in zip(found, expected, strict=True):
        assert [entry.token for entry in one.logprobs] == [entry.token for entry in other.logprobs]
        assert np.allclose(probabilities(one), probabilities(other), atol=1e-4)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("way", NEED_ALL)
def test_whoever_needs_all_logits_gets_them(
    bundle: Any, monkeypatch: pytest.MonkeyPatch, way: str, memory: str
) -> None:
    model = model_of(bundle, True, memory)
    steps = counted(model, monkeypatch)
    found, expected = answers(model, **NEED_ALL[way]), answers(model_of(bundle, False), **NEED_ALL[way])
    assert [each.tokens for each in found] == [each.tokens for each in expected]
    assert not steps


def test_one_row_that_needs_all_logits_decides_for_the_step(bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(bundle, True)
    steps = counted(model, monkeypatch)
    short = resolve({}, max_new_tokens=4, repetition_penalty=1.3, eos_token_id=None)
    long = resolve({}, max_new_tokens=9, eos_token_id=None)
    sequences = [model.request(ids, config) for ids, config in zip(prompts(), (short, long, long), strict=True)]
    model.engine.run(sequences)
    assert steps == [2] * 5  # once the first one has left


@pytest.mark.parametrize("count", [1, 63])
def test_ties_beyond_the_candidates_fetch_all_logits(bundle: Any, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """As many equal scores as there are candidates do not say which tokens are meant; rows keep their own logits."""
    model = model_of(bundle, True, "device")
    runner, fetched = model.runner, []
    runner.reserve(2, 40)
    step: Any = runner.prefill_each([0, 1], prompts()[:2], best=True)
    fetch = step.everything
    tied = Candidates(step.ids, np.full_like(step.scores, 3.0), step.total, lambda: fetched.append(1) or fetch())
    for row in range(2):
        ids, scores = _head(take(tied, [1, 0]), row, count)
        expected = step.logits()[1 - row]
        assert np.array_equal(ids, greatest(expected, count, ROUNDING)) and np.array_equal(scores, expected[ids])
    assert len(fetched) == 2


def test_drafts_are_verified_with_candidates(bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompt lookup on a device: what is verified is the best token behind each one of the draft."""
    model, ids = model_of(bundle, True, "device"), np.tile(prompts()[1], 3)
    config = resolve({}, max_new_tokens=40, eos_token_id=None)
    plain = model_of(bundle, False).generate([ids], config)[0][0].tokens
    runs = counted(model, monkeypatch)
    config = resolve({}, max_new_tokens=40, eos_token_id=None, prompt_lookup_num_tokens=6)
    assert model.generate([ids], config)[0][0].tokens == plain
    assert max(runs) > 1 and model.engine.statistics().drafted_tokens > 0


def test_on_a_cpu_all_logits_are_read_by_default(bundle: Any) -> None:
    runner = open_runner(bundle, "cpu", 1, 1, None)
    assert runner.candidates == 64 and not Engine(runner).candidates and Engine(runner, candidates=True).candidates


def test_a_bundle_from_before_works_without(bundle: Any) -> None:
    older = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, candidates=None))
    model = model_of(older, True)
    assert model.runner.candidates == 0 and not model.engine.candidates
    expected = answers(model_of(bundle, None))
    assert [each.tokens for each in answers(model)] == [each.tokens for each in expected]


def test_candidates_are_the_greatest_logits(bundle: Any) -> None:
    runner: Any = open_runner(bundle, "cpu", 1, 2, None)
    runner.reserve(2, 64)
    runner.prefill_together(0, prompts()[:2])
    step: Any = runner.decode(np.array([5, 6]), best=True)
    logits = step.logits().astype(np.float64)
    expected = np.argsort(-logits, axis=-1, kind="stable")[:, :64]
    assert np.array_equal(step.ids, expected)
    assert np.array_equal(step.scores, np.take_along_axis(logits, expected, 1).astype(np.float32))
    assert np.allclose(step.total, np.log(np.exp(logits).sum(-1)), atol=1e-5)


def as_candidates(logits: np.ndarray, count: int = 64) -> Candidates:
    ids = np.argsort(-logits, axis=-1, kind="stable")[:, :count]
    return Candidates(ids, np.take_along_axis(logits, ids, 1), np.zeros(len(logits), np.float32), lambda: logits)


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 20, 63]), st.sampled_from([0.3, 0.7, 1.0, 3.7]), st.booleans())
def test_the_head_decides(seed: int, top_k: int, temperature: float, coarse: bool) -> None:
    """Coarse scores tie; neighbouring ones become equal when they are divided by the temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(1, VOCABULARY)).astype(np.float32) * 3
    logits = (
        np.round(logits) if coarse else np.nextafter(np.float32(2), np.float32(3), dtype=np.float32) + logits * 1e-7
    )
    config = resolve({}, do_sample=True, top_k=top_k, temperature=temperature, top_p=0.9, seed=seed)
    expected = Sampler(config, VOCABULARY)
    token, _ = expected.pick(expected.process(Rows([[]], [0]), logits)[0])
    for step in (logits, as_candidates(logits)):
        sampler = Sampler(config, VOCABULARY)
        assert sampler.head == top_k
        assert sampler.draw(*_head(step, 0, top_k)) == token


def test_slack_takes_in_what_is_about_equal() -> None:
    values = np.arange(4096, dtype=np.float32)
    values[:3] = [9000.0, np.nextafter(np.float32(9000), np.float32(0)), 8999.0]
    assert greatest(values, 1).tolist() == [0]
    assert greatest(values, 1, ROUNDING).tolist() == [0, 1]
    assert greatest(values[:40], 1, ROUNDING).tolist() == [0, 1]


def test_small_vocabularies_give_what_they_have() -> None:
    outputs = candidate_graph(9).graph.outputs
    assert [str(value.shape) for value in outputs] == [
        "[batch,positions,9]",
        "[batch,positions,9]",
        "[batch,positions]",
    ]
