"""Texts of similar length share a batch, so that little of it is padding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.triton.buckets import SLACK, STRETCH, buckets

lengths = st.lists(st.integers(0, 500), max_size=64)


@given(lengths)
def test_every_text_is_in_one_bucket(values: list[int]) -> None:
    assert sorted(index for bucket in buckets(values) for index in bucket) == list(range(len(values)))


@given(lengths)
def test_none_is_padded_to_much_more_than_its_length(values: list[int]) -> None:
    found = buckets(values)
    for bucket in found:
        longest = max(values[index] for index in bucket)
        assert all((values[index] + SLACK) * STRETCH >= longest + SLACK for index in bucket)
    # Each bucket's longest is less than half of the one before: there are few.
    assert len(found) <= 6


def test_a_long_text_does_not_pad_the_short_ones() -> None:
    assert buckets([10, 500, 12, 11]) == [[1], [0, 2, 3]]


def test_texts_of_similar_length_stay_together() -> None:
    assert buckets([10, 20, 15, 18]) == [[0, 1, 2, 3]]
    assert buckets([]) == []
    assert buckets([0, 0]) == [[0, 1]]
