"""From a detector's outputs to scored boxes, in numpy.

Source of the behaviour: `post_process_object_detection` of transformers 5.23's image processors. They come in two
kinds; which of them a checkpoint has is found out at export (`exporter/detection.py`):
- "softmax": one box per query, its best class but for the last, which means "no object" (DETR, YOLOS);
- "sigmoid": the `top_k` best of all pairs of query and class (Conditional and Deformable DETR, RT-DETR).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.pipelines.scores import sigmoid, softmax

Floats = npt.NDArray[np.float32]


class Detections(NamedTuple):
    """scores `[n]`, labels `[n]` (ids), boxes `[n, 4]` (xmin, ymin, xmax, ymax in pixels), in the model's order."""

    scores: Floats
    labels: npt.NDArray[np.int64]
    boxes: Floats


def detections(
    logits: Floats, boxes: Floats, size: tuple[int, int], scoring: str, top_k: int | None = None
) -> Detections:
    """Detections of one image, not yet filtered by score.

    logits `[queries, classes]`; boxes `[queries, 4]` as centre, width and height relative to the image; size: the
    image's (height, width) in pixels.
    """
    choose = softmax_detections if scoring == "softmax" else sigmoid_detections
    scores, labels, queries = choose(logits, top_k)
    height, width = size
    scale = np.array([width, height, width, height], dtype=np.float32)
    return Detections(scores, labels, corners(boxes[queries]) * scale)


def softmax_detections(logits: Floats, top_k: int | None) -> tuple[Floats, npt.NDArray[Any], npt.NDArray[Any]]:
    """(scores, labels, queries): the best class of every query."""
    probabilities = softmax(logits)[:, :-1]
    return probabilities.max(-1), probabilities.argmax(-1), np.arange(len(logits))


def sigmoid_detections(logits: Floats, top_k: int | None) -> tuple[Floats, npt.NDArray[Any], npt.NDArray[Any]]:
    """(scores, labels, queries): the best pairs of query and class, best first."""
    with np.errstate(over="ignore"):  # exp(-logit) may be infinite; the probability is 0 then
        probabilities = sigmoid(logits).reshape(-1)
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return probabilities[best], best % logits.shape[1], best // logits.shape[1]


def corners(boxes: Floats) -> Floats:
    """(centre x, centre y, width, height) -> (xmin, ymin, xmax, ymax)."""
    centre, half = boxes[:, :2], np.float32(0.5) * boxes[:, 2:]
    return np.concatenate([centre - half, centre + half], axis=1)
