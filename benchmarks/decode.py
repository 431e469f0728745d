"""Decode speed: milliseconds a step after a prompt, greedy, and the time to the first token, against every peer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.peer_side import peer_side
from benchmarks.protocol import timed
from benchmarks.turns import Figures, Metric, Side, table, take_turns
from benchmarks.worker import run

NEW = 128
TITLES = {"gpt2_124m": "GPT-2 124M", "llama_160m": "Llama 160M", "qwen2_05b": "Qwen2.5-0.5B's shape"}
METRICS = [
    Metric("ms a step", "step_ms"),
    Metric("first token, ms", "first_ms"),
    Metric("peak memory, MB", "peak_mb"),
]
# module of the peer → its requirements, and the precisions that it has
PEERS = {
    "onnxruntime_genai": ("onnxruntime-genai", ("fp32", "int4")),
    "optimum_onnx": ("optimum-onnx", ("fp32",)),
    "openvino_intel": ("openvino", ("fp32", "int8", "int4")),
    "llama_cpp_python": ("llama-cpp", ("fp32", "int8", "int4")),
}
# model, precision, batch, prompt
CASES = [
    ("gpt2_124m", "fp32", 1, 128),
    ("gpt2_124m", "fp32", 8, 128),
    ("gpt2_124m", "fp32", 1, 512),
    ("gpt2_124m", "int8", 1, 128),
    ("gpt2_124m", "int8", 8, 128),
    ("gpt2_124m", "int4", 1, 128),
    ("llama_160m", "fp32", 1, 128),
    ("llama_160m", "fp32", 8, 128),
    ("llama_160m", "fp32", 1, 512),
    ("llama_160m", "int8", 1, 128),
    ("llama_160m", "int8", 8, 128),
    ("llama_160m", "int4", 1, 128),
    ("qwen2_05b", "fp32", 1, 128),
    ("qwen2_05b", "int4", 1, 128),
]


def measure(rounds: int, only: str = "") -> list[str]:
    """All cases, or those whose title contains `only`."""
    lines: list[str] = []
    for name, precision, batch, prompt in CASES:
        title = f"{TITLES[name]} {precision}, batch {batch}, prompt {prompt}, {NEW} new tokens"
        if only and only not in title:
            continue
        sides = [ours(name, precision, batch, prompt), *others(name, precision, batch, prompt)]
        if precision != "fp32":
            sides.insert(1, replace(ours(name, "fp32", batch, prompt), name="onward fp32"))
        if precision == "int4":
            sides[0] = replace(ours(name, precision, batch, prompt, 4), name="onward, embeddings in 4 bit")
            sides.insert(1, replace(ours(name, precision, batch, prompt), name="onward by default"))
        take_turns(sides, rounds)
        lines += ["", *table(title, sides, METRICS)]
    return lines


def ours(name: str, precision: str, batch: int, prompt: int, embedding_bits: int | None = None) -> Side:
    """Onward's side. embedding_bits: in int4 peers have 4 for the last product, and llama.cpp for embeddings too."""
    bundle = models.bundle(name, precision, embedding_bits)
    arguments = {"bundle": bundle, "prompt": prompt, "new": NEW, "batch": batch}
    return Side("onward", lambda: run("benchmarks.decode:onward", **arguments))


def others(name: str, precision: str, batch: int, prompt: int) -> list[Side]:
    """torch, and the peers that have this precision."""
    sides = []
    if precision == "fp32":
        arguments = {"checkpoint": models.checkpoint(name), "prompt": prompt, "new": NEW, "batch": batch}
        sides.append(Side("transformers, torch eager", lambda: run("benchmarks.decode:transformers", **arguments)))
        if batch == 1:
            sides.append(
                Side("bandwidth floor", lambda: run("benchmarks.floor:decode", checkpoint=models.checkpoint(name)))
            )
    for module, (requirements, precisions) in PEERS.items():
        if precision in precisions and not (module == "llama_cpp_python" and batch > 1):
            asked: dict[str, Any] = {"prompt": prompt, "new": NEW, "batch": batch, "precision": precision}
            sides.append(peer_side(f"{module}:decode", requirements, name, precision, **asked))
    return sides


def onward(bundle: str, prompt: int, new: int, batch: int) -> Figures:
    """Our engine, without the tokenizer."""
    from runtime import pipeline
    from runtime.generation.config import resolve

    pipe: Any = pipeline("text-generation", bundle)

    def generate(tokens: np.ndarray, count: int) -> None:
        options = {"do_sample": False, "max_new_tokens": count, "eos_token_id": None}
        pipe.model.generate(list(tokens), resolve(pipe.manifest.generation, **options))

    return timed(generate, prompt, new, batch)


def transformers(checkpoint: str, prompt: int, new: int, batch: int) -> Figures:
    """HF `generate()`, torch eager, as it comes."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None

    def generate(tokens: np.ndarray, count: int) -> None:
        inputs = torch.tensor(tokens)
        with torch.no_grad():
            model.generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=count)

    return timed(generate, prompt, new, batch)
