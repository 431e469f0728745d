"""From the start of a process to its first answer: 8 greedy tokens, wall time of the whole process."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks import models
from benchmarks.turns import Figures, Metric, Side, table, take_turns
from benchmarks.worker import run

ONWARD = """
from runtime import pipeline
pipeline("text-generation", {path!r})("Hello", do_sample=False, max_new_tokens=8)
"""
TRANSFORMERS = """
from transformers import pipeline
pipeline("text-generation", {path!r})("Hello", do_sample=False, max_new_tokens=8)
"""


def measure(rounds: int, only: str = "") -> list[str]:
    """Onward and transformers on GPT-2 124M."""
    bundle, checkpoint = models.bundle("gpt2_124m"), models.checkpoint("gpt2_124m")
    sides = [
        Side("onward", lambda: run("benchmarks.cold_start:onward", bundle=bundle)),
        Side("transformers", lambda: run("benchmarks.cold_start:transformers", checkpoint=checkpoint)),
    ]
    take_turns(sides, rounds)
    return table("GPT-2 124M, process start to first answer (8 tokens)", sides, [Metric("seconds", "seconds")])


def onward(bundle: str) -> Figures:
    """Interpreter, imports, sha256 of the bundle, session, answer."""
    return first_answer(ONWARD.format(path=bundle))


def transformers(checkpoint: str) -> Figures:
    """Interpreter, imports, model, answer."""
    return first_answer(TRANSFORMERS.format(path=checkpoint))


def first_answer(program: str) -> Figures:
    """Wall seconds of a process that runs `program`."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return {"seconds": time.perf_counter() - started}
