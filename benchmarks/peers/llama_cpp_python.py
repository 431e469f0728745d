"""llama.cpp through llama-cpp-python, compiled for this CPU; weights written by llama.cpp's own `gguf` package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.gguf_writer import write_gguf
from benchmarks.protocol import timed

TYPES = {"fp32": "F32", "int8": "Q8_0", "int4": "Q4_0"}


def prepare(checkpoint: str, output: str, precision: str) -> dict[str, float]:
    """Write `output/model.gguf`. precision: "fp32", "int8" (Q8_0) or "int4" (Q4_0)."""
    Path(output).mkdir(parents=True, exist_ok=True)
    write_gguf(Path(checkpoint), Path(output) / "model.gguf", TYPES[precision])
    return {}


def decode(model: str, prompt: int, new: int, batch: int, precision: str) -> dict[str, float]:
    """Greedy through `eval` and `sample`; one sequence only."""
    import os

    from llama_cpp import Llama

    if batch != 1:
        raise ValueError("llama-cpp-python runs one sequence at a time")
    threads = len(os.sched_getaffinity(0))
    llm = Llama(
        f"{model}/model.gguf",
        n_ctx=prompt + new,
        n_threads=threads,
        n_threads_batch=threads,
        n_batch=512,
        verbose=False,
    )

    def generate(tokens: np.ndarray, count: int) -> None:
        llm.reset()
        llm.eval(tokens[0].tolist())
        for _ in range(count - 1):
            llm.eval([llm.sample(temp=0.0)])

    return timed(generate, prompt, new)
