"""What the validation of vision tasks shares: drawn images, the source's outputs for each of them alone, and the
bundle's for batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.validation.checks import Check
from exporter.validation.images import drawing

SIZES = ((160, 120), (120, 160), (160, 120), (97, 61))  # (width, height): the same twice, so that a batch is formed

Compare = Callable[[str, np.ndarray, np.ndarray, Precision], Check]


@dataclass
class Reference:
    """What the source said. outputs: by name, for each image; answers: (question, options, HF's answer)."""

    outputs: list[dict[str, np.ndarray]] = field(default_factory=list)
    answers: list[tuple[Any, dict[str, Any], Any]] = field(default_factory=list)


def images() -> list[Image.Image]:
    """Four drawn images."""
    return [drawing(width, height, seed) for seed, (width, height) in enumerate(SIZES)]


def outputs_of(checkpoint: Checkpoint, image: Image.Image) -> dict[str, np.ndarray]:
    """The source's outputs of the task for one image, without the batch dimension, float32."""
    import torch

    encoded = checkpoint.processor(images=image, return_tensors="pt").to(checkpoint.model.device)
    with torch.no_grad():
        output = checkpoint.model(**encoded)
    return {name: output[name][0].float().cpu().numpy() for name, _ in checkpoint.row.outputs}


def compare_outputs(reference: Reference, pipe: Any, precision: Precision, compare: dict[str, Compare]) -> list[Check]:
    """One check per output and batch: all images alone, and all in one batch."""
    items = [pipe.preprocess(image) for image in images()]
    checks = []
    for how, run in (("one by one", one_by_one), ("batch", in_a_batch)):
        try:
            found = run(pipe, items)
        except Exception as error:  # ONNX Runtime's, for a graph that only fits the size it was traced with
            detail = f"the graph does not run on images of other sizes: {' '.join(str(error).split())[:200]}"
            checks.append(Check("numerics", f"run, {how}", False, {}, detail))
            continue
        for name, check in compare.items():
            expected = np.stack([outputs[name] for outputs in reference.outputs])
            answers = np.concatenate([outputs[name] for outputs in found])
            rows = [array.reshape(-1, array.shape[-1]) for array in (expected, answers)]
            checks.append(check(f"{name}, {how}", rows[0], rows[1], precision))
    return checks


def one_by_one(pipe: Any, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every image in a run of its own."""
    return [pipe.forward(item) for item in items]


def in_a_batch(pipe: Any, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All images at once."""
    outputs: list[dict[str, Any]] = pipe._forward_batch(items)
    return outputs
