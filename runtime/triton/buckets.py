"""Which texts of a batch to run together: a short text beside a long one costs as much as the long one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

# Bounds of `run_cost`, in characters: a run is never free, and timings taken while a server loads can be far off.
LEAST, MOST = 8.0, 4000.0
_TRIES = 3


def buckets(lengths: Sequence[int], cost: float) -> list[list[int]]:
    """Indices of `lengths` (characters), grouped so that all runs together cost least; the longest texts come first.

    cost: what a run costs beyond its texts, in characters of text; see `run_cost`. A text costs as much as the longest
    of its group.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    # best[end]: (cost, begin of the last group) of the first `end` texts, longest first.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(order) + 1):
        best.append(min((best[b][0] + cost + (end - b) * lengths[order[b]], b) for b in range(end)))
    found, end = [], len(order)
    while end:
        begin = best[end][1]
        found.append(sorted(order[begin:end]))
        end = begin
    return found[::-1]


def run_cost(run: Callable[[Any], object], short: tuple[Any, int], long: tuple[Any, int]) -> float:
    """What a run of the model costs beyond its text, in characters: a few words on a CPU, many on a GPU.

    short, long: two items and their lengths; each is run a few times.
    """
    (little, few), (much, many) = ((fastest(run, item), length) for item, length in (short, long))
    each = (much - little) / (many - few)
    return MOST if each <= 0 else min(max(little / each - few, LEAST), MOST)


def fastest(run: Callable[[Any], object], item: Any) -> float:
    """Seconds of the fastest of some runs."""
    best = math.inf
    for _ in range(_TRIES):
        begun = perf_counter()
        run(item)
        best = min(best, perf_counter() - begun)
    return best
