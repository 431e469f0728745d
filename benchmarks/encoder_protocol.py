"""What every encoder is asked: the same random ids without padding, at batch 1 and 8; the same clock for all.

Only the standard library and numpy: it runs in the environments of the peers too.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

LENGTH, BATCHES = 128, (1, 8)
WARM, SECONDS, FEWEST = 3, 1.5, 5
Feeds = dict[str, np.ndarray]


def feeds(batch: int, seed: int = 0) -> Feeds:
    """int64 `[batch, LENGTH]` of each input; ids in the vocabulary of every model measured."""
    shape = (batch, LENGTH)
    ids = np.random.default_rng(seed).integers(100, 1000, shape)
    return {"input_ids": ids, "attention_mask": np.ones(shape, np.int64), "token_type_ids": np.zeros(shape, np.int64)}


def timed(run: Callable[[Feeds], object]) -> dict[str, float]:
    """Median milliseconds of a pass at each batch, after some that do not count."""
    return {f"batch_{batch}_ms": 1000 * typical(run, feeds(batch)) for batch in BATCHES}


def typical(run: Callable[[Feeds], object], inputs: Feeds) -> float:
    """Median seconds of the passes that fit into `SECONDS`, `FEWEST` at least."""
    for _ in range(WARM):
        run(inputs)
    times: list[float] = []
    while len(times) < FEWEST or sum(times) < SECONDS:
        started = perf_counter()
        run(inputs)
        times.append(perf_counter() - started)
    return median(times)
