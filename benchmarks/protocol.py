"""What every engine is asked: the same random prompt, greedy, no end token; the same clock for all.

Only the standard library and numpy: it runs in the environments of the peers too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

Generate = Callable[[np.ndarray, int], object]


def prompts(length: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    """Random token ids `[batch, length]`, the same for everyone, in the vocabulary of every model measured."""
    return np.random.default_rng(seed).integers(100, 1000, (batch, length))


def timed(generate: Generate, prompt: int, new: int, batch: int = 1) -> dict[str, float]:
    """Time one and `new` tokens after a warm-up; the difference is the steps. Milliseconds and tokens per second.

    Each run has prompts of its own, so that nobody answers from what an earlier one left in a cache.
    """
    generate(prompts(prompt, batch, 0), 4)
    first = seconds(generate, prompts(prompt, batch, 1), 1)
    total = seconds(generate, prompts(prompt, batch, 2), new)
    step = (total - first) / (new - 1)
    return {"first_ms": 1000 * first, "step_ms": 1000 * step, "tokens_per_s": batch * new / total}


def seconds(generate: Generate, tokens: np.ndarray, count: int) -> float:
    """Wall time of `count` tokens after `tokens`."""
    started = time.perf_counter()
    generate(tokens, count)
    return time.perf_counter() - started
