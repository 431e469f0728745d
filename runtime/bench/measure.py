"""Times calls: how long each takes, for as long as there is time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

WARM_UPS = 2
FEWEST, MOST = 3, 200

Answer = Callable[[int, int], Any]
"""(batch size, new tokens; 0 where nothing is generated) -> whatever."""


def seconds_of(call: Callable[[], Any], budget: float) -> list[float]:
    """Wall seconds of calls after a warm-up: at least `FEWEST`, and no more once `budget` seconds are over."""
    begun = time.perf_counter()
    for _ in range(WARM_UPS):
        if time.perf_counter() - begun < budget:
            call()
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < FEWEST or (len(found) < MOST and time.perf_counter() - begun < budget):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return found


def measure(answer: Answer, batch_sizes: list[int], new_tokens: int, budget: float) -> dict[str, Any]:
    """By batch size: `seconds` of whole answers and, for generators, `first_seconds` of answers of one token."""
    found: dict[str, Any] = {}
    for size in batch_sizes:
        entry: dict[str, Any] = {"seconds": seconds_of(partial(answer, size, new_tokens), budget)}
        if new_tokens:
            entry["first_seconds"] = seconds_of(partial(answer, size, 1), budget / 4)
        found[str(size)] = entry
    return found


def peak_mb() -> float | None:
    """Most memory that this process has held, in MB; None where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    peak = next((line for line in lines if line.startswith("VmHWM")), None)
    return int(peak.split()[1]) * 1024 / 1e6 if peak else None
