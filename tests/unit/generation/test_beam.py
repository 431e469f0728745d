"""Beam search on scores made by hand; its parity with transformers is in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.generation.beam import BeamSearch
from runtime.generation.config import resolve

EOS = 0


def logits(*rows: list[float]) -> np.ndarray:
    return np.log(np.asarray(rows, np.float32))


def test_a_beam_beats_greedy_search() -> None:
    """Token 1 looks better first, but 2 leads to the likelier whole."""
    search = BeamSearch(resolve({}, num_beams=2, eos_token_id=EOS, max_new_tokens=2, num_return_sequences=2), [3], 4)
    tokens, origins, done = search.step(logits([0.05, 0.5, 0.4, 0.05]))
    assert (tokens.tolist(), origins.tolist(), done) == ([1, 2], [0, 0], False)
    tokens, origins, done = search.step(logits([0.25, 0.25, 0.25, 0.25], [0.01, 0.01, 0.97, 0.01]))
    assert done
    assert search.result()[0] == [3, 2, 2]
    assert search.generated()[0] == [2, 2]
    np.testing.assert_allclose(search.scores()[0], np.log(0.4 * 0.97) / 2, rtol=1e-5)
    assert search.finish_reasons()[0] == "length"


def test_ended_sequences_have_their_own_length_and_reason() -> None:
    search = BeamSearch(resolve({}, num_beams=2, eos_token_id=EOS, max_new_tokens=5, early_stopping=True), [3, 3], 4)
    done = False
    while not done:
        done = search.step(logits([0.9, 0.05, 0.03, 0.02]))[2]
    assert search.result() == [[3, 3, EOS]]
    assert search.finish_reasons() == ["stop"]
    with pytest.raises(RuntimeError, match="done"):
        search.step(logits([0.9, 0.05, 0.03, 0.02]))


def test_stop_strings_end_beams() -> None:
    config = resolve({}, num_beams=2, max_new_tokens=4, stop_strings=["b"], early_stopping=True)
    search = BeamSearch(config, [3], 4, decode=lambda ids: "".join("xabc"[i] for i in ids))
    done = False
    while not done:
        done = search.step(logits([0.05, 0.3, 0.6, 0.05]))[2]
    assert search.result() == [[3, 2]]
    assert search.finish_reasons() == ["stop_string"]


def test_beam_sampling_repeats_with_its_seed() -> None:
    def run(seed: int) -> list[list[int]]:
        config = resolve({}, num_beams=3, do_sample=True, seed=seed, max_new_tokens=8, num_return_sequences=3)
        search = BeamSearch(config, [1], 30)
        rng, done = np.random.default_rng(0), False
        while not done:
            done = search.step(rng.normal(size=(3, 30)).astype(np.float32))[2]
        return search.result()

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_one_beam_is_no_beam_search() -> None:
    with pytest.raises(InputError, match="num_beams of at least 2"):
        BeamSearch(resolve({}), [1], 5)
