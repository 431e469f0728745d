"""optimum-onnx, on the last transformers that it supports."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.checkpoint import for_old_transformers
from benchmarks.protocol import timed


def prepare(checkpoint: str, output: str, precision: str) -> dict[str, float]:
    """Export with past, as `ORTModelForCausalLM` does. precision: "fp32"."""
    from optimum.onnxruntime import ORTModelForCausalLM

    if precision != "fp32":
        raise ValueError(f"optimum-onnx is measured in fp32, not {precision}")
    ORTModelForCausalLM.from_pretrained(for_old_transformers(checkpoint, output), export=True).save_pretrained(output)
    return {}


def decode(model: str, prompt: int, new: int, batch: int, precision: str) -> dict[str, float]:
    """transformers' `generate()` around ONNX Runtime with IO binding."""
    from optimum.onnxruntime import ORTModelForCausalLM

    return generate_with(ORTModelForCausalLM.from_pretrained(model, use_io_binding=True), prompt, new, batch)


def generate_with(model: object, prompt: int, new: int, batch: int) -> dict[str, float]:
    """Time an object with transformers' `generate()`."""
    import torch

    model.generation_config.eos_token_id = None  # type: ignore[attr-defined]

    def generate(tokens: np.ndarray, count: int) -> None:
        inputs = torch.tensor(tokens)
        mask = torch.ones_like(inputs)
        model.generate(  # type: ignore[attr-defined]
            inputs, attention_mask=mask, do_sample=False, min_new_tokens=count, max_new_tokens=count, pad_token_id=0
        )

    return timed(generate, prompt, new, batch)
