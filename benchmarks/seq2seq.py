"""Encoder–decoders: 64 tokens for a source of 128, greedy and 4 beams, against transformers and optimum-onnx."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.peer_side import peer_side
from benchmarks.protocol import prompts
from benchmarks.turns import Figures, Metric, Side, table, take_turns
from benchmarks.worker import run

NEW, SOURCE = 64, 128
TITLES = {"bart_base": "BART-base", "t5_small": "T5-small"}


def measure(rounds: int, only: str = "") -> list[str]:
    """Both models, greedy and with 4 beams."""
    lines: list[str] = []
    for name, title in TITLES.items():
        for beams in (1, 4):
            whole = f"{title} fp32, source {SOURCE}, {NEW} new tokens, {'greedy' if beams == 1 else f'{beams} beams'}"
            if only in whole:
                competitors = sides(name, beams)
                take_turns(competitors, rounds)
                lines += ["", *table(whole, competitors, [Metric("ms an answer", "ms"), Metric("peak MB", "peak_mb")])]
    return lines


def sides(name: str, beams: int) -> list[Side]:
    """Ours, torch's, optimum-onnx's."""
    bundle, checkpoint = models.bundle(name), models.checkpoint(name)
    return [
        Side("onward", lambda: run("benchmarks.seq2seq:onward", bundle=bundle, beams=beams)),
        Side(
            "transformers, torch eager",
            lambda: run("benchmarks.seq2seq:transformers", checkpoint=checkpoint, beams=beams),
        ),
        peer_side("optimum_onnx_seq2seq:answer", "optimum-onnx", name, "fp32", beams=beams),
    ]


def onward(bundle: str, beams: int) -> Figures:
    """Our engine, without the tokenizer."""
    from runtime import pipeline
    from runtime.generation.config import resolve
    from runtime.generation.model import as_ids
    from runtime.pipelines.text2text_generation import start_token

    pipe: Any = pipeline("text2text-generation", bundle)
    config = resolve(pipe.generation, **options(beams))
    start = as_ids([start_token(config)])

    def generate(ids: np.ndarray) -> None:
        source = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        pipe.model.generate([start], config, None, [source])

    return timed(generate)


def transformers(checkpoint: str, beams: int) -> Figures:
    """HF `generate()`, torch eager."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    return generate_with(model, beams)


def generate_with(model: Any, beams: int) -> Figures:
    """Time an object with transformers' `generate()`."""
    import torch

    model.generation_config.eos_token_id = None

    def generate(ids: np.ndarray) -> None:
        inputs = torch.tensor(ids)
        with torch.no_grad():
            model.generate(inputs, attention_mask=torch.ones_like(inputs), **options(beams))

    return timed(generate)


def options(beams: int) -> dict[str, Any]:
    """Exactly `NEW` tokens, nothing forced."""
    quiet = {"forced_bos_token_id": None, "forced_eos_token_id": None, "no_repeat_ngram_size": 0}
    return {"do_sample": False, "num_beams": beams, "max_new_tokens": NEW, "eos_token_id": None, **quiet}


def timed(generate: Callable[[np.ndarray], object]) -> Figures:
    """One warm-up, then the better of two, each with a source of its own."""
    generate(prompts(SOURCE, 1, 0))
    times = []
    for seed in (1, 2):
        ids = prompts(SOURCE, 1, seed)
        started = time.perf_counter()
        generate(ids)
        times.append(time.perf_counter() - started)
    return {"ms": 1000 * min(times)}
