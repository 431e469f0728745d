"""Times a source model and its bundle on the same workloads: a few runs each, one side after the other.

The source is timed while it is loaded, the bundle after the export: no benchmark (`onward bench` is), but the order of
magnitude on this machine. The best run counts: on a busy machine the others measure its neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.report.workloads import Workload

RUNS = 5
SECONDS = 2.0  # no further run begins after this


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a workload: the best of `runs` runs after one that does not count."""

    milliseconds: float
    runs: int


def measure(call: Callable[[int], Any], work: Workload) -> Timing:
    """Time a workload; `call` takes the number of tokens to generate."""
    call(min(work.new_tokens, 2))
    totals: list[float] = []
    firsts: list[float] = []
    begun = time.perf_counter()
    while len(totals) < RUNS and (not totals or time.perf_counter() - begun < SECONDS):
        totals.append(elapsed(call, work.new_tokens))
        if work.further:
            firsts.append(elapsed(call, 1))
    if not work.further:
        return Timing(1000 * min(totals), len(totals))
    return Timing(1000 * (min(totals) - min(firsts)) / (work.new_tokens - 1), len(totals))


def elapsed(call: Callable[[int], Any], count: int) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    call(count)
    return time.perf_counter() - started


def latency_table(
    works: Sequence[Workload], source: Sequence[Timing], bundle: Sequence[Timing]
) -> list[dict[str, Any]]:
    """One record per workload: milliseconds of both, how many runs, and how many times faster the bundle was."""
    return [
        {
            "workload": work.name,
            "source_ms": theirs.milliseconds,
            "bundle_ms": ours.milliseconds,
            "ratio": theirs.milliseconds / ours.milliseconds if ours.milliseconds > 0 else None,
            "runs": min(theirs.runs, ours.runs),
        }
        for work, theirs, ours in zip(works, source, bundle, strict=True)
    ]
