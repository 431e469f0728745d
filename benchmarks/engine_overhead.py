"""What a step of the engine costs beyond `run_with_iobinding`: scheduling, choosing tokens, stopping, text.

Steps of the engine and bare runs of what it has bound (same session, same memory, same shapes) take turns in one
process, and the ways to choose tokens too. Told are the wall time around the run that a step makes, and the median
difference between a step and the bare run behind it, which also shows what the engine does to the run itself.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.protocol import prompts
from benchmarks.worker import run

PROMPT, NEW, TURNS = 128, 26, 3
SAMPLING = {"do_sample": True, "temperature": 0.7, "seed": 0}
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy, text streamed": {},
    "temperature 0.7, top-k 50, top-p 0.95": {**SAMPLING, "top_k": 50, "top_p": 0.95},
    "temperature 0.7, top-p 0.9 alone": {**SAMPLING, "top_k": 0, "top_p": 0.9},
    "repetition penalty 1.2": {"repetition_penalty": 1.2},
    "greedy, 5 logprobs": {"logprobs": 5},
    "greedy, from the graph's candidates": {},
    "top-k 50, top-p 0.95, from the graph's candidates": {**SAMPLING, "top_k": 50, "top_p": 0.95},
}
HEAD = ["| | µs a step around the run | step less bare run, µs | ms a run |", "|---|---|---|---|"]


def measure(rounds: int, only: str = "") -> list[str]:
    """GPT-2 124M, whose vocabulary is 50,257; medians over the rounds, with the smallest and the largest."""
    bundle = models.bundle("gpt2_124m")
    lines: list[str] = []
    for batch in (1, 8):
        title = f"Engine overhead, GPT-2 124M fp32, batch {batch}"
        if only not in title:
            continue
        found = [run("benchmarks.engine_overhead:onward", bundle=bundle, batch=batch) for _ in range(rounds)]
        lines += ["", f"### {title}", "", *HEAD]
        for way in WAYS:
            around, beyond, inside = ([figures[f"{way}: {key}"] for figures in found] for key in ("us", "less", "ms"))
            cells = [f"{np.median(around):.0f} ({min(around):.0f}–{max(around):.0f})", f"{np.median(beyond):.0f}"]
            lines.append(f"| {way} | {' | '.join(cells)} | {np.median(inside):.2f} |")
    return lines


class TimedSession:
    """Passes everything on to a session, and adds up the time of its runs."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.wall = 0.0
        self.last: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        """As the session's."""
        self.last = (binding, options)
        started = time.perf_counter()
        self.session.run_with_iobinding(binding, options)
        self.wall += time.perf_counter() - started


def onward(bundle: str, batch: int) -> dict[str, float]:
    """Medians over the steps of all turns, for every way to choose tokens."""
    from runtime.bundle import open_bundle
    from runtime.generation.model import LanguageModel, open_runner
    from runtime.tokenizer import Tokenizer

    opened = open_bundle(bundle)
    runner: Any = open_runner(opened, "cpu", None, batch, None)
    runner.session = TimedSession(runner.session)
    model, tokenizer = LanguageModel(runner), Tokenizer.from_bundle(opened)
    steps: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    for _ in range(TURNS):
        for way, found in steps.items():
            found += one_turn(model, tokenizer, way, batch)
    figures = {}
    for way, found in steps.items():
        step, inside, bare = np.transpose(found)
        figures[f"{way}: us"] = 1e6 * float(np.median(step - inside))
        figures[f"{way}: less"] = 1e6 * float(np.median(step - bare))
        figures[f"{way}: ms"] = 1e3 * float(np.median(inside))
    return figures


def one_turn(model: Any, tokenizer: Any, way: str, batch: int) -> list[tuple[float, float, float]]:
    """Seconds of each step, of the run inside it, and of the bare run behind it."""
    from runtime.generation.config import resolve

    session = model.runner.session
    model.engine.candidates = "candidates" in way
    config = resolve({}, max_new_tokens=NEW, eos_token_id=None, **WAYS[way])
    sequences = [model.engine.submit(model.request(ids, config)) for ids in prompts(PROMPT, batch)]
    streams = [text_of(sequence, tokenizer) for sequence in sequences] if "text" in way else []
    found = []
    while model.engine.busy:
        session.wall, started = 0.0, time.perf_counter()
        model.engine.step()
        for stream in streams:
            next(stream)
        step, inside = time.perf_counter() - started, session.wall
        started = time.perf_counter()
        session.session.run_with_iobinding(*session.last)
        found.append((step, inside, time.perf_counter() - started))
    return found[2:]


def text_of(sequence: Any, tokenizer: Any) -> Any:
    """What a caller sees of a stream, token by token."""
    from runtime.generation.stream import TextStream
    from runtime.tokenizer import DecodeStream

    return TextStream(sequence, DecodeStream(tokenizer, True)).events()
