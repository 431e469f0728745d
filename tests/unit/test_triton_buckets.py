"""Texts of similar length share a batch, so that little of it is padding."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.triton import buckets as module
from runtime.triton.buckets import LEAST, MOST, buckets, run_cost

lengths = st.lists(st.integers(0, 500), max_size=40)
costs = st.floats(LEAST, MOST)


def price(groups: list[list[int]], values: list[int], cost: float) -> float:
    return sum(cost + len(group) * max(values[index] for index in group) for group in groups)


@given(lengths, costs)
def test_every_text_is_in_one_bucket(values: list[int], cost: float) -> None:
    assert sorted(index for bucket in buckets(values, cost) for index in bucket) == list(range(len(values)))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=7), costs)
def test_nothing_is_cheaper(values: list[int], cost: float) -> None:
    """Against every way of putting the texts into groups."""
    ways = product(range(len(values)), repeat=len(values)) if len(values) < 6 else ()
    found = price(buckets(values, cost), values, cost)
    for way in ways:
        groups = [[index for index, group in enumerate(way) if group == name] for name in set(way)]
        assert found <= price(groups, values, cost) + 1e-6


def test_a_long_text_does_not_pad_the_short_ones() -> None:
    assert buckets([10, 500, 12, 11], cost=20) == [[1], [0, 2, 3]]


def test_texts_of_similar_length_stay_together() -> None:
    assert buckets([10, 20, 15, 18], cost=50) == [[0, 1, 2, 3]]
    assert buckets([], cost=50) == []
    assert buckets([0, 0], cost=50) == [[0, 1]]
    assert buckets([10, 500, 12, 11], cost=MOST) == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("start", "each", "expected"),
    [(0.013, 0.001, 13.0), (0.5, 0.001, 500.0), (0.0, 0.001, LEAST), (60.0, 0.001, MOST), (0.1, 0.0, MOST)],
)
def test_what_a_run_costs_is_measured(
    monkeypatch: pytest.MonkeyPatch, start: float, each: float, expected: float
) -> None:
    """By a clock that a run of `n` characters moves on by `start + each * n` seconds."""
    now = 0.0

    def run(length: int) -> None:
        nonlocal now
        now += start + each * length

    monkeypatch.setattr(module, "perf_counter", lambda: now)
    assert run_cost(run, (7, 7), (103, 103)) == pytest.approx(expected)
