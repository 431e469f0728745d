"""Validation of object detectors: pixel values, class logits and boxes over batches, and the pipeline's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.checks import Check, compare_logits, error_counts
from exporter.validation.vision import Reference, compare_outputs, images, outputs_of

MOST = 20  # objects of an answer that are compared
LEAST_SCORE = 5e-2  # tolerance of scores in any precision that rounds


@dataclass(frozen=True)
class Tolerance:
    """Of scores, and of the sides of a box in pixels."""

    score: float
    pixels: float


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32, with a threshold that no score comes close to."""
    from transformers import pipeline as hf_pipeline

    pipe = hf_pipeline("object-detection", model=checkpoint.model, image_processor=checkpoint.processor)
    reference = Reference()
    with quiet():
        for image in images():
            reference.outputs.append(outputs_of(checkpoint, image))
            options = {"threshold": clear_threshold([found["score"] for found in pipe(image, threshold=0.0)])}
            reference.answers.append((image, options, pipe(image, **options)))
    return reference


def clear_threshold(scores: list[float]) -> float:
    """The middle of the widest gap among the `MOST` best scores: rounding decides nothing there."""
    best = np.sort(scores)[::-1][: MOST + 1]
    if len(best) < 2:
        return 0.5
    gaps = best[:-1] - best[1:]
    widest = int(gaps.argmax())
    return float(best[widest + 1] + gaps[widest] / 2)


def compare(reference: Reference, pipe: Any, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    checks = compare_outputs(reference, pipe, precision, {"logits": compare_logits, "pred_boxes": compare_boxes})
    if not all(check.passed for check in checks):
        return checks
    return [*checks, compare_objects(reference, pipe, precision)]


def compare_boxes(name: str, expected: np.ndarray, found: np.ndarray, precision: Precision) -> Check:
    """Relative boxes `[rows, 4]`: the largest error, as a share of the image."""
    error = float(np.abs(found - expected).max())
    passed = error <= precision.error
    detail = "" if passed else f"error {error:.1e} is over {precision.error:.0e}"
    return Check("numerics", name, passed, {"error": error}, detail, error_counts(expected, found))


def compare_objects(reference: Reference, pipe: Any, precision: Precision) -> Check:
    """The same objects in every image, scores and boxes within the tolerance; equal scores may have changed places."""
    wrong = []
    for image, options, expected in reference.answers:
        found = pipe(image, **options)
        if not same_objects(expected, found, tolerance(precision, image)):
            wrong.append(f"{image.width} x {image.height}: {str(found)[:160]} instead of {str(expected)[:160]}")
    agreement = 1 - len(wrong) / len(reference.answers)
    passed = not wrong if precision.exact else agreement >= precision.agreement
    return Check("answers", "object-detection pipeline", passed, {"agreement": agreement}, "; ".join(wrong[:1]))


def tolerance(precision: Precision, image: Image.Image) -> Tolerance:
    """Cutting off decimals turns the smallest difference into a whole pixel."""
    score = precision.score if precision.exact else max(precision.score, LEAST_SCORE)
    return Tolerance(score, 1 + precision.error * max(image.size))


def same_objects(expected: list[dict[str, Any]], found: list[dict[str, Any]], allowed: Tolerance) -> bool:
    """Whether every object has its counterpart."""
    left = list(found)
    for wanted in expected:
        match = next((one for one in left if same_object(wanted, one, allowed)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def same_object(expected: dict[str, Any], found: dict[str, Any], allowed: Tolerance) -> bool:
    """Equal keys and label, close score and box."""
    return (
        list(expected) == list(found)
        and expected["label"] == found["label"]
        and abs(expected["score"] - found["score"]) <= allowed.score
        and list(expected["box"]) == list(found["box"])
        and all(abs(expected["box"][side] - found["box"][side]) <= allowed.pixels for side in expected["box"])
    )
