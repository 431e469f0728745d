"""Mean average precision of boxes, as COCO defines it: IoU 0.50 to 0.95, 101 recall points, at most 100 boxes an image.

Boxes are (xmin, ymin, xmax, ymax). Without crowds and ignored regions, over boxes of all sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Boxes:
    """The objects of one image: boxes float `[n, 4]`, labels and, of what was found, scores."""

    boxes: Floats
    labels: Sequence[str]
    scores: Sequence[float] = ()


def mean_average_precision(found: Sequence[Boxes], gold: Sequence[Boxes]) -> float:
    """Mean over thresholds and the labels that occur in `gold`, times 100; 0 where there are none."""
    labels = sorted({label for image in gold for label in image.labels})
    if not labels:
        return 0.0
    return 100 * float(np.mean([average_precisions(found, gold, label).mean() for label in labels]))


def average_precisions(found: Sequence[Boxes], gold: Sequence[Boxes], label: str) -> Floats:
    """AP of one label at each threshold."""
    scores, hits, wanted = [], [], 0
    for ours, theirs in zip(found, gold, strict=True):
        boxes, confidence = of_label(ours, label)
        targets = theirs.boxes[[name == label for name in theirs.labels]]
        wanted += len(targets)
        scores.append(confidence)
        hits.append(matches(overlaps(boxes, targets)))
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    return np.array([precision_area(row[order], wanted) for row in np.concatenate(hits, axis=1)])


def of_label(image: Boxes, label: str) -> tuple[Floats, Floats]:
    """Boxes and scores of one label, best first."""
    chosen = [index for index, name in enumerate(image.labels) if name == label]
    scores = np.array([image.scores[index] for index in chosen], float)
    order = np.argsort(-scores, kind="mergesort")[:MOST]
    return image.boxes[chosen][order] if chosen else np.zeros((0, 4)), scores[order]


def overlaps(found: Floats, gold: Floats) -> Floats:
    """Intersection over union `[found, gold]`."""
    low = np.maximum(found[:, None, :2], gold[None, :, :2])
    high = np.minimum(found[:, None, 2:], gold[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    area_found, area_gold = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (found, gold))
    union = area_found[:, None] + area_gold[None] - common
    shares: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def matches(overlap: Floats) -> npt.NDArray[np.bool_]:
    """Whether each found box, best first, hits a gold box that is still free: `[thresholds, found]`."""
    hit = np.zeros((len(THRESHOLDS), overlap.shape[0]), bool)
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(overlap.shape[1], bool)
        for index, values in enumerate(overlap):
            candidates = np.where(free, values, -1.0)
            # Of equal overlaps the last one, as COCO's own code has it.
            best = len(candidates) - 1 - int(candidates[::-1].argmax()) if len(candidates) else -1
            if best >= 0 and candidates[best] >= min(threshold, 1 - 1e-10):
                hit[row, index], free[best] = True, False
    return hit


def precision_area(hits: npt.NDArray[np.bool_], wanted: int) -> float:
    """Mean of the best precision at or beyond each of the recall points."""
    if not len(hits):
        return 0.0
    right = np.cumsum(hits)
    recall, precision = right / wanted, right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(places < len(hits), envelope[np.minimum(places, len(hits) - 1)], 0.0).mean())
