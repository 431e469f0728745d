"""How the time of a step grows with the length of the context, against the bytes that attention has to read more.

One process a round measures all lengths: the cache's bytes follow from the manifest, the bandwidth is measured beside
every length. `kept` is the same at the shortest length after all others, when the memory is at its longest: what a
buffer costs that is longer than the text in it.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.plot import write_plot
from benchmarks.protocol import prompts
from benchmarks.worker import run

LENGTHS = (128, 512, 1024, 2048, 4096, 8192)
STEPS = 16
PLOT = Path(__file__).parent.parent / "docs" / "context.svg"
HEAD = (
    "| context | ms a step | more than at {first} | cache read, MB | its floor, ms | × floor |",
    "|---|---|---|---|---|---|",
)
CASES = {"llama_160m_8k": "Llama 160M, 8k positions, 12 query heads over 3"}


def measure(rounds: int, only: str = "") -> list[str]:
    """Llama 160M with 8,192 positions, batch 1; the plot lands in docs/."""
    lines: list[str] = []
    for name, title in CASES.items():
        bundle = models.bundle(name)
        found = [run("benchmarks.context:onward", bundle=bundle) for _ in range(rounds)]
        figures = {key: median(each[key] for each in found) for key in found[0]}
        lines += ["", f"### {title}, fp32, batch 1", "", *table(figures)]
        if not only:
            draw(PLOT, figures)
            lines += ["", f"![time of a step against the length of the context](../docs/{PLOT.name})"]
    return lines


def table(figures: dict[str, float]) -> list[str]:
    """A row for each length; the floor is what the cache beyond the first length takes to be read."""
    first = figures[f"ms_{LENGTHS[0]}"]
    rows = [HEAD[0].format(first=LENGTHS[0]), HEAD[1]]
    for length in LENGTHS:
        ms, floor = figures[f"ms_{length}"], figures[f"floor_{length}"]
        grown = ms - first
        rows.append(
            f"| {length} | {ms:.2f} | {grown:.2f} | {figures[f'mb_{length}']:.1f} | {floor:.2f} | "
            f"{f'{grown / floor:.1f}' if length > LENGTHS[0] else '–'} |"
        )
    kept = f"{LENGTHS[0]} in a buffer of {LENGTHS[-1]}"
    return [*rows, f"| {kept} | {figures['ms_kept']:.2f} | {figures['ms_kept'] - first:.2f} | | | |"]


def draw(path: Path, figures: dict[str, float]) -> None:
    """The step, and what it would be if it grew by the reading of the cache alone."""
    first = figures[f"ms_{LENGTHS[0]}"]
    series = {
        "a step": [figures[f"ms_{length}"] for length in LENGTHS],
        "growing by the cache's bytes alone": [first + figures[f"floor_{length}"] for length in LENGTHS],
    }
    write_plot(path, LENGTHS, series, "ms")


def onward(bundle: str) -> dict[str, float]:
    """Medians over the last steps before each length; each prompt goes on from what the slot holds."""
    from runtime.bundle import open_bundle
    from runtime.generation.model import LanguageModel, open_runner

    opened: Any = open_bundle(bundle)
    model = LanguageModel(open_runner(opened, "cpu", None, 1, None))
    per_token = sum(2 * heads * size for heads, size in opened.manifest.cache.layers) * 4
    text = prompts(LENGTHS[-1])[0]
    found: dict[str, float] = {}
    for length in LENGTHS:
        more = per_token * (length - LENGTHS[0])
        found[f"mb_{length}"] = per_token * length / 1e6
        found[f"ms_{length}"] = steps(model, text[: length - STEPS - 1])
        found[f"floor_{length}"] = 1000 * more / bandwidth()
    return {**found, "ms_kept": steps(model, text[: LENGTHS[0] - STEPS - 1])}


def steps(model: Any, prompt: np.ndarray) -> float:
    """Milliseconds of a step, the median of `STEPS` behind `prompt`."""
    from runtime.generation.config import resolve

    sequence = model.request(prompt, resolve({}, max_new_tokens=STEPS + 1, eos_token_id=None))
    model.engine.submit(sequence)
    times = []
    while sequence.finish_reason is None:
        before, started = len(sequence.tokens), time.perf_counter()
        model.engine.step()
        if before:
            times.append(time.perf_counter() - started)
    return 1000 * median(times)


def bandwidth() -> float:
    """Bytes a second that all threads together read from memory, the best of a few tries."""
    from runtime.session import available_threads

    threads = available_threads()
    parts = [np.ones(25_000_000, np.float32) for _ in range(threads)]
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            started = time.perf_counter()
            list(pool.map(np.max, parts))
            seconds.append(time.perf_counter() - started)
    return sum(part.nbytes for part in parts) / min(seconds)
