"""From the start of a process to its first answer: 8 greedy tokens, wall time of the whole process."""

from __future__ import annotations

import subprocess
import sys
import time

ONWARD = """
from runtime import pipeline
pipeline("text-generation", {path!r})("Hello", do_sample=False, max_new_tokens=8)
"""
TRANSFORMERS = """
from transformers import pipeline
pipeline("text-generation", {path!r})("Hello", do_sample=False, max_new_tokens=8)
"""


def onward(bundle: str) -> dict[str, float]:
    """Interpreter, imports, sha256 of the bundle, session, answer."""
    return first_answer(ONWARD.format(path=bundle))


def transformers(checkpoint: str) -> dict[str, float]:
    """Interpreter, imports, model, answer."""
    return first_answer(TRANSFORMERS.format(path=checkpoint))


def first_answer(program: str) -> dict[str, float]:
    """Wall seconds of a process that runs `program`."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return {"seconds": time.perf_counter() - started}
