"""What a step of the engine costs beyond `session.run`: scheduling, choosing tokens, stopping, bookkeeping.

CPU time of the engine's thread, not wall time, so that what else runs on the machine does not count; ONNX Runtime's
share is taken out by timing the call into it with the same clock.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.protocol import prompts
from benchmarks.turns import Metric, Side, table, take_turns
from benchmarks.worker import run

PROMPT, NEW = 128, 48
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "temperature 0.7, top-k 50": {"do_sample": True, "temperature": 0.7, "top_k": 50, "seed": 0},
    "temperature 0.7, top-p 0.9": {"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 0.9, "seed": 0},
    "repetition penalty 1.2": {"repetition_penalty": 1.2},
    "greedy, 5 logprobs": {"logprobs": 5},
}
METRICS = [Metric("µs a step beyond the model", "overhead_us"), Metric("ms a step in the model", "model_ms")]


def measure(rounds: int, only: str = "") -> list[str]:
    """GPT-2's vocabulary (50,257), a row for every way to choose tokens, at batch 1 and 8."""
    bundle = models.bundle("gpt2_124m")
    lines: list[str] = []
    for batch in (1, 8):
        title = f"Engine overhead, GPT-2 124M fp32, batch {batch}"
        if only in title:
            sides = [side(bundle, way, batch) for way in WAYS]
            take_turns(sides, rounds)
            lines += ["", *table(title, sides, METRICS)]
    return lines


def side(bundle: str, way: str, batch: int) -> Side:
    """One way to choose tokens."""
    return Side(way, lambda: run("benchmarks.engine_overhead:onward", bundle=bundle, way=way, batch=batch))


class TimedSession:
    """Passes everything on to a session, and adds up the time of its runs."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.cpu = self.wall = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run_with_iobinding(self, binding: Any) -> None:
        """As the session's."""
        cpu, wall = time.thread_time(), time.perf_counter()
        self.session.run_with_iobinding(binding)
        self.cpu += time.thread_time() - cpu
        self.wall += time.perf_counter() - wall


def onward(bundle: str, way: str, batch: int) -> dict[str, float]:
    """Medians over the steps of one batch."""
    from runtime.bundle import open_bundle
    from runtime.generation.config import resolve
    from runtime.generation.model import LanguageModel, open_runner

    runner: Any = open_runner(open_bundle(bundle), "cpu", None, batch, None)
    runner.session = session = TimedSession(runner.session)
    model = LanguageModel(runner)
    config = resolve({}, max_new_tokens=NEW, eos_token_id=None, **WAYS[way])
    for ids in prompts(PROMPT, batch):
        model.engine.submit(model.request(ids, config))
    overhead, inside = [], []
    while model.engine.busy:
        session.cpu = session.wall = 0.0
        started = time.thread_time()
        model.engine.step()
        overhead.append(time.thread_time() - started - session.cpu)
        inside.append(session.wall)
    return {"overhead_us": 1e6 * float(np.median(overhead[2:])), "model_ms": 1e3 * float(np.median(inside[2:]))}
