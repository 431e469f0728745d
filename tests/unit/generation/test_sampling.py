"""Samplers: the same seed the same tokens, rows on their own, frequencies as the filtered distribution has them."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.generation.config import resolve
from runtime.generation.logits import log_softmax, softmax, top_indices
from runtime.generation.processors import Rows, apply_processors, build_processors
from runtime.generation.sampling import Sampler, greedy, random_stream, sample, sample_without_replacement

VOCAB = 40


def scores_of(rows: int, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(rows, VOCAB)) * scale).astype(np.float32)


def run(sampler: Sampler, scores: np.ndarray, steps: int) -> np.ndarray:
    """Tokens `[steps, rows]` for the same scores at every step."""
    rows = len(scores)
    return np.stack([sampler([[1, 2]] * rows, [2] * rows, scores) for _ in range(steps)])


def test_greedy_takes_the_first_of_the_greatest() -> None:
    scores = np.asarray([[0, 3, 3, 1], [5, 1, 1, 5]], np.float32)
    tokens = greedy(scores)
    assert tokens.tolist() == [1, 0]
    assert tokens.dtype == np.int64


def test_same_seed_same_tokens_other_seed_others() -> None:
    scores = scores_of(3)
    first, again, other = (
        run(Sampler(resolve({}, do_sample=True, seed=seed), VOCAB, rows=3), scores, 30) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_rows_of_one_request_have_streams_of_their_own() -> None:
    scores = np.repeat(scores_of(1), 3, axis=0)
    tokens = run(Sampler(resolve({}, do_sample=True, seed=1), VOCAB, rows=3), scores, 30)
    assert not np.array_equal(tokens[:, 0], tokens[:, 1])
    assert not np.array_equal(tokens[:, 1], tokens[:, 2])


def test_without_a_seed_runs_differ() -> None:
    scores = scores_of(1)
    runs = [run(Sampler(resolve({}, do_sample=True, top_k=0), VOCAB), scores, 40) for _ in range(2)]
    assert not np.array_equal(*runs)


def test_a_row_does_not_depend_on_the_others() -> None:
    """Row 1 of a batch draws what it draws alone, also after other rows have ended."""
    config = resolve({}, do_sample=True, seed=3, top_p=0.9)
    scores = scores_of(3)
    together = Sampler(config, VOCAB, rows=3)
    full = [together([[1], [2, 3], [4]], [1, 1, 1], scores)[1] for _ in range(10)]
    full += [together([[2, 3]], [1], scores[1:2], active=[1])[0] for _ in range(10)]
    alone = [sample(run_alone, [generator])[0] for run_alone, generator in _alone(config, scores[1:2], 20)]
    assert full == alone


def _alone(config: object, scores: np.ndarray, steps: int) -> list[tuple[np.ndarray, np.random.Generator]]:
    generator = random_stream(3, 1)
    processed = apply_processors(build_processors(config, VOCAB), Rows([[2, 3]], [1]), scores)
    return [(processed, generator)] * steps


def test_requests_with_streams_of_their_own() -> None:
    config = resolve({}, do_sample=True, seed=3)
    a, b = (run(Sampler(config, VOCAB, stream=(request,)), scores_of(1), 30) for request in (0, 1))
    assert not np.array_equal(a, b)


@pytest.mark.parametrize(
    "values", [{"top_k": 0}, {"top_k": 7}, {"top_k": 0, "top_p": 0.8}, {"temperature": 0.5, "min_p": 0.05}], ids=str
)
def test_frequencies_follow_the_filtered_distribution(values: dict[str, float]) -> None:
    """Chi-square over 20 000 draws; with this seed a right sampler stays below the 99.9 % quantile."""
    config = resolve({}, do_sample=True, seed=17, **values)
    scores = scores_of(1, seed=2, scale=1.0)
    counts = np.bincount(run(Sampler(config, VOCAB), scores, 20_000)[:, 0], minlength=VOCAB)
    expected = softmax(apply_processors(build_processors(config, VOCAB), Rows([[1]], [1]), scores))[0] * 20_000
    assert counts[expected == 0].sum() == 0
    kept = expected > 0
    statistic = ((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    degrees = kept.sum() - 1
    assert degrees > 3
    # Wilson and Hilferty's approximation of the quantile
    assert statistic < degrees * (1 - 2 / (9 * degrees) + 3.09 * np.sqrt(2 / (9 * degrees))) ** 3


def test_draws_without_replacement() -> None:
    """The first draw has the softmax's frequencies; all are different; what has no probability comes last."""
    generator = random_stream(4)
    scores = np.asarray([1.0, -np.inf, 0.0, 2.0], np.float32)
    draws = np.stack([sample_without_replacement(scores, 3, generator) for _ in range(8000)])
    assert all(len(set(draw)) == 3 for draw in draws.tolist())
    assert (draws != 1).all()
    frequencies = np.bincount(draws[:, 0], minlength=4) / 8000
    np.testing.assert_allclose(frequencies, softmax(scores), atol=0.02)
    after_three = draws[draws[:, 0] == 3][:, 1]
    second = softmax(np.asarray([1.0, 0.0], np.float32))[0]
    assert abs((after_three == 0).mean() - second) < 0.02
    assert sample_without_replacement(scores, 4, generator)[3] == 1


def test_tokens_without_probability_are_never_drawn() -> None:
    class Extreme:
        """Stands for the ends of the unit interval."""

        def __init__(self, value: float) -> None:
            self.value = value

        def random(self) -> float:
            return self.value

    scores = np.asarray([[-np.inf, 0.0, -200.0, 0.0, -200.0, -np.inf]], np.float32)
    assert sample(scores, [Extreme(0.0)]).tolist() == [1]  # type: ignore[list-item]
    assert sample(scores, [Extreme(1 - 2**-53)]).tolist() == [3]  # type: ignore[list-item]
    assert sample(scores, [Extreme(1.0)]).tolist() == [3]  # type: ignore[list-item]


@pytest.mark.parametrize("row", [[-np.inf] * 3, [np.nan, 0, 0], [np.inf, 0, 0]], ids=str)
def test_a_row_without_a_distribution_is_an_error_in_one_line(row: list[float]) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        sample(np.asarray([row], np.float32), [random_stream(0)])


def test_plain_greedy_is_known_as_such() -> None:
    assert Sampler(resolve({}), VOCAB).is_plain_greedy
    assert not Sampler(resolve({}, repetition_penalty=1.1), VOCAB).is_plain_greedy
    assert not Sampler(resolve({}, do_sample=True), VOCAB).is_plain_greedy


def test_sources_take_the_place_of_the_prompt() -> None:
    config = resolve({}, encoder_no_repeat_ngram_size=1)
    scores = np.arange(VOCAB, dtype=np.float32)[None]
    sampler = Sampler(config, VOCAB)
    assert sampler([[39, 5]], [1], scores).tolist() == [38]
    assert sampler([[3, 5]], [1], scores, sources=[[39, 38]]).tolist() == [37]


def test_log_softmax_and_top_indices() -> None:
    scores = scores_of(4)
    np.testing.assert_allclose(np.exp(log_softmax(scores)), softmax(scores), rtol=1e-5)
    np.testing.assert_allclose(softmax(scores).sum(axis=1), 1, rtol=1e-6)
    values = np.asarray([1, 5, 3, 5, 5, 0, 3, 2, 2, 2, 1, 1, 0, 0, 0, 0, 0], np.float32)
    assert top_indices(values, 4).tolist() == [1, 3, 4, 2]
    assert top_indices(values, 2).tolist() == [1, 3]
