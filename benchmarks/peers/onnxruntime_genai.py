"""onnxruntime-genai: its model builder writes the graph, its C++ loop runs it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from benchmarks.protocol import timed


def prepare(checkpoint: str, output: str, precision: str) -> dict[str, float]:
    """Run the builder on a checkpoint folder. precision: "fp32" or "int4"."""
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", checkpoint, "-o", output]
    options = ["-p", precision, "-e", "cpu", "-c", f"{output}-cache"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the model builder failed: {done.stderr[-1500:]}")
    return {}


def decode(model: str, prompt: int, new: int, batch: int, precision: str) -> dict[str, float]:
    """Greedy, `max_length` just long enough; end tokens cannot be switched off, random weights hardly choose them."""
    import onnxruntime_genai as og

    loaded = og.Model(model)

    def generate(tokens: np.ndarray, count: int) -> None:
        parameters = og.GeneratorParams(loaded)
        length = prompt + count
        parameters.set_search_options(
            do_sample=False, min_length=length, max_length=length, batch_size=batch, past_present_share_buffer=True
        )
        generator = og.Generator(loaded, parameters)
        generator.append_tokens(tokens.astype(np.int32) if batch > 1 else tokens[0].astype(np.int32))
        for _ in range(count):
            generator.generate_next_token()

    return timed(generate, prompt, new, batch)
