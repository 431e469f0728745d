"""Requests of mixed lengths that arrive over time: one engine for all, one at a time, and HF's padded batch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.turns import Figures, Metric, Side, table, take_turns
from benchmarks.worker import run

REQUESTS, NEW = 16, 64
GAP = 0.05  # mean seconds between two arrivals


def measure(rounds: int, only: str = "") -> list[str]:
    """16 requests of 8 to 256 tokens on GPT-2 124M, 64 new tokens each."""
    bundle, checkpoint = models.bundle("gpt2_124m"), models.checkpoint("gpt2_124m")
    sides = [
        Side("onward, as they arrive", lambda: run("benchmarks.arrivals:together", bundle=bundle)),
        Side("onward, one at a time", lambda: run("benchmarks.arrivals:one_by_one", bundle=bundle)),
        Side("transformers, one padded batch", lambda: run("benchmarks.arrivals:padded", checkpoint=checkpoint)),
    ]
    take_turns(sides, rounds)
    title = f"GPT-2 124M fp32, {REQUESTS} requests of 8 to 256 tokens, {NEW} new tokens each, {REQUESTS} slots"
    return table(title, sides, [Metric("tokens/s", "tokens_per_s", lower=False)])


def requests(seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Prompts, and the seconds at which they arrive. Each seed has prompts of its own."""
    random = np.random.default_rng(seed)
    lengths = random.integers(8, 257, REQUESTS)
    return [random.integers(100, 1000, length) for length in lengths], np.cumsum(random.exponential(GAP, REQUESTS))


def together(bundle: str) -> Figures:
    """Submitted to the running engine when their time comes; tokens over the time from the first arrival to the end."""
    model, config = opened(bundle)
    model.engine.start()
    for seed in (0, 1):
        prompts, times = requests(seed)
        started = time.perf_counter()
        sequences = []
        for prompt, due in zip(prompts, times, strict=True):
            time.sleep(max(0.0, started + due - time.perf_counter()))
            sequences.append(model.engine.submit(model.request(prompt, config)))
        for sequence in sequences:
            sequence.done.wait()
        elapsed = time.perf_counter() - started - times[0]
    model.close()
    return {"tokens_per_s": sum(len(sequence.tokens) for sequence in sequences) / elapsed}


def one_by_one(bundle: str) -> Figures:
    """The same requests, each alone, none waiting to arrive."""
    model, config = opened(bundle)
    model.generate([requests(0)[0][0]], config)
    started = time.perf_counter()
    count = sum(len(model.generate([prompt], config)[0][0].tokens) for prompt in requests(1)[0])
    return {"tokens_per_s": count / (time.perf_counter() - started)}


def opened(bundle: str) -> tuple[Any, Any]:
    """The bundle's language model, and greedy settings."""
    from runtime import pipeline
    from runtime.generation.config import resolve

    pipe: Any = pipeline("text-generation", bundle, slots=REQUESTS)
    return pipe.model, resolve(pipe.manifest.generation, do_sample=False, max_new_tokens=NEW, eos_token_id=None)


def padded(checkpoint: str) -> Figures:
    """HF `generate()` on all prompts at once, padded on the left, as if they had all been there from the start."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    for seed in (0, 1):
        prompts, _ = requests(seed)
        longest = max(map(len, prompts))
        ids = torch.tensor(np.stack([np.pad(prompt, (longest - len(prompt), 0)) for prompt in prompts]))
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        started = time.perf_counter()
        with torch.no_grad():
            model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW, pad_token_id=0)
        elapsed = time.perf_counter() - started
    return {"tokens_per_s": REQUESTS * NEW / elapsed}
