"""What the engine saves: prompt lookup on text that repeats, prefixes found in slots, long prompts read in chunks.

Every figure comes with the same work done without the saving, in the same process, one right after the other.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.protocol import prompts
from benchmarks.worker import run

NEW = 96
TITLES = {"lookup": "Prompt lookup (10 tokens)", "prefix": "Prefix reuse", "chunks": "Prompts in chunks"}


def measure(rounds: int, only: str = "") -> list[str]:
    """GPT-2 124M fp32; medians over the rounds."""
    bundle = models.bundle("gpt2_124m")
    lines: list[str] = []
    for name, title in TITLES.items():
        if only not in title:
            continue
        found = [run(f"benchmarks.engine_reuse:{name}", bundle=bundle) for _ in range(rounds)]
        keys = [key for key in found[0] if key != "peak_mb"]
        lines += ["", f"### {title}, GPT-2 124M fp32", "", "| | median | min–max |", "|---|---|---|"]
        for key in keys:
            values = sorted(figures[key] for figures in found)
            lines.append(f"| {key} | {np.median(values):.2f} | {values[0]:.2f}–{values[-1]:.2f} |")
    return lines


def open_model(bundle: str, slots: int = 2) -> Any:
    """A model without tokenizer."""
    from runtime.bundle import open_bundle
    from runtime.generation.model import LanguageModel, open_runner

    return LanguageModel(open_runner(open_bundle(bundle), "cpu", None, slots, None))


def generate(model: Any, ids: np.ndarray, count: int, **options: Any) -> tuple[float, list[int]]:
    """Seconds and tokens of one greedy request."""
    from runtime.generation.config import resolve

    sequence = model.request(ids, resolve({}, max_new_tokens=count, eos_token_id=None, **options))
    started = time.perf_counter()
    model.engine.run([sequence])
    return time.perf_counter() - started, sequence.tokens


def lookup(bundle: str) -> dict[str, float]:
    """Text that repeats, and text that does not: random weights run in circles where they may choose of few tokens."""
    model = open_model(bundle)
    few = [i for i in range(model.runner.vocab_size) if i % 8192]
    return {
        **compared(model, "repetitive text", suppress_tokens=few),
        **compared(model, "text without repetitions", no_repeat_ngram_size=2),
    }


def compared(model: Any, name: str, **options: Any) -> dict[str, float]:
    """The same request with and without guesses."""
    ids = prompts(32)[0]
    first, expected = generate(model, ids, NEW, **options)
    before = model.engine.statistics()
    guessed, tokens = generate(model, ids, NEW, prompt_lookup_num_tokens=10, **options)
    after = model.engine.statistics()
    plain = (first + generate(model, ids, NEW, **options)[0]) / 2  # before and after: the machine's mood evens out
    if tokens != expected:
        raise RuntimeError("prompt lookup changed the tokens")
    return {
        f"{name}: ms a token, plain": 1000 * plain / NEW,
        f"{name}: ms a token, prompt lookup": 1000 * guessed / NEW,
        f"{name}: times faster": plain / guessed,
        f"{name}: tokens a run": NEW / (after.decode_steps - before.decode_steps + 1),
    }


def prefix(bundle: str) -> dict[str, float]:
    """First token of a 512-token prompt of which 480 are in a slot."""
    model = open_model(bundle)
    system = prompts(480, seed=1)[0]
    generate(model, prompts(512, seed=2)[0], 1)
    fresh, _ = generate(model, np.concatenate([system, prompts(32, seed=3)[0]]), 1)
    reused, _ = generate(model, np.concatenate([system, prompts(32, seed=4)[0]]), 1)
    return {
        "first token, ms, nothing known": 1000 * fresh,
        "first token, ms, 480 of 512 known": 1000 * reused,
        "times faster": fresh / reused,
        "tokens reused": float(model.engine.statistics().reused_tokens),
    }


def chunks(bundle: str) -> dict[str, float]:
    """The longest pause of a stream while a 900-token prompt is read: whole, and in chunks of 128."""
    return {
        "longest pause, ms, prompt read at once": pause(open_model(bundle), 1024),
        "longest pause, ms, chunks of 512": pause(open_model(bundle), 512),
        "longest pause, ms, chunks of 128": pause(open_model(bundle), 128),
    }


def pause(model: Any, chunk: int) -> float:
    """Milliseconds of the slowest step of a stream beside which a prompt arrives."""
    from runtime.generation.config import resolve

    model.engine.chunk = chunk
    config = resolve({}, max_new_tokens=24, eos_token_id=None)
    model.runner.reserve(2, 1024)
    stream = model.engine.submit(model.request(prompts(16)[0], config))
    for _ in range(4):
        model.engine.step()
    model.engine.submit(model.request(prompts(900, seed=5)[0], config))
    steps = []
    while stream.finish_reason is None:
        started = time.perf_counter()
        model.engine.step()
        steps.append(time.perf_counter() - started)
    return 1000 * max(steps)
