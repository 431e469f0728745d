"""How a detector's outputs become boxes: found out by asking HF's image processor, whose code alone says it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from runtime.errors import ExportError
from runtime.pipelines.boxes import Detections, detections

SIZE = (333, 500)  # (height, width) of the imagined image
TOLERANCE = 1e-4  # of scores, and of boxes in pixels as a share of the image


def resolve_detection(processor: Any, queries: int | str, classes: int | str) -> dict[str, Any]:
    """`scoring` and `top_k` (see `runtime/pipelines/boxes.py`) for logits `[queries, classes]`.

    Raises `ExportError` for a processor that does not detect objects, or does it in a way of its own.
    """
    if not isinstance(queries, int) or not isinstance(classes, int):
        raise ExportError("this detector's number of boxes depends on the image: please report this checkpoint")
    if not hasattr(processor, "post_process_object_detection"):
        raise ExportError(f"{type(processor).__name__} has no post_process_object_detection: it detects no objects")
    random = np.random.default_rng(0)
    # All different, and not so large that their probabilities would round to the same number.
    logits = random.permutation(np.linspace(-6, 2, queries * classes, dtype=np.float32)).reshape(queries, classes)
    boxes = random.uniform(0, 1, (queries, 4)).astype(np.float32)
    expected = ask(processor, logits, boxes)
    for candidate in ({"scoring": "softmax"}, {"scoring": "sigmoid", "top_k": len(expected.scores)}):
        if same(expected, detections(logits, boxes, SIZE, **candidate)):
            return candidate
    raise ExportError(
        f"{type(processor).__name__} makes boxes in a way that the runtime does not know: please report this checkpoint"
    )


def ask(processor: Any, logits: np.ndarray, boxes: np.ndarray) -> Detections:
    """HF's detections of one image, all of them."""
    outputs = SimpleNamespace(logits=torch.from_numpy(logits)[None], pred_boxes=torch.from_numpy(boxes)[None])
    found = processor.post_process_object_detection(outputs, -1.0, torch.tensor([SIZE], dtype=torch.int32))[0]
    return Detections(*(found[name].numpy() for name in ("scores", "labels", "boxes")))


def same(expected: Detections, found: Detections) -> bool:
    """Equal labels in the same order, equal scores and boxes but for rounding."""
    return (
        np.array_equal(expected.labels, found.labels)
        and np.allclose(expected.scores, found.scores, rtol=0, atol=TOLERANCE)
        and np.allclose(expected.boxes, found.boxes, rtol=0, atol=TOLERANCE * max(SIZE))
    )
