"""The floor of a decode step: reading the weights once, at the bandwidth that this machine has at that moment."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

REPEATS = 7


def decode(checkpoint: str) -> dict[str, float]:
    """step_ms: milliseconds to read every weight that a step reads. A lookup of embeddings reads next to nothing."""
    size = read_bytes(Path(checkpoint))
    threads = _threads()
    share = size // threads // 4
    parts = [np.ones(share, np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        best = min(_once(pool, parts) for _ in range(REPEATS))
    return {"step_ms": 1000 * best}


def read_bytes(checkpoint: Path) -> int:
    """Bytes of the weights in float32 without an input embedding of its own."""
    from safetensors import safe_open

    config = json.loads((checkpoint / "config.json").read_text())
    total = 0
    with safe_open(checkpoint / "model.safetensors", "np") as weights:
        names = list(weights.keys())
        for name in names:
            looked_up = name.endswith(("embed_tokens.weight", "wpe.weight")) and not config.get(
                "tie_word_embeddings", True
            )
            total += 0 if looked_up else 4 * int(np.prod(weights.get_slice(name).get_shape()))
    return total


def _once(pool: ThreadPoolExecutor, parts: list[np.ndarray]) -> float:
    started = time.perf_counter()
    list(pool.map(np.max, parts))
    return time.perf_counter() - started


def _threads() -> int:
    from runtime.session import available_threads

    return available_threads()
