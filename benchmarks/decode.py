"""Decode speed, batch 1: milliseconds per new token after a prompt, greedy, and the time to the first token."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

PROMPT, NEW = 128, 128


def prompt_ids() -> np.ndarray:
    """The same random prompt for everyone, `[PROMPT]`."""
    return np.random.default_rng(0).integers(100, 1000, PROMPT)


def onward(bundle: str) -> dict[str, float]:
    """Our engine, without the tokenizer."""
    from runtime import pipeline
    from runtime.generation.config import resolve

    pipe: Any = pipeline("text-generation", bundle)

    def generate(count: int) -> None:
        options = {"do_sample": False, "max_new_tokens": count, "eos_token_id": None}
        config = resolve(pipe.manifest.generation, **options)
        pipe.model.generate([prompt_ids()], config)

    return timed(generate)


def transformers(checkpoint: str) -> dict[str, float]:
    """HF `generate()`, torch eager, as it comes."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    inputs = torch.tensor(prompt_ids())[None]

    def generate(count: int) -> None:
        with torch.no_grad():
            model.generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=count)

    return timed(generate)


def timed(generate: Any) -> dict[str, float]:
    """Time one and `NEW` tokens after a warm-up; the difference is the steps."""
    generate(4)
    started = time.perf_counter()
    generate(1)
    first = time.perf_counter() - started
    started = time.perf_counter()
    generate(NEW)
    total = time.perf_counter() - started
    return {"first_ms": 1000 * first, "step_ms": 1000 * (total - first) / (NEW - 1), "tokens_per_s": NEW / total}
