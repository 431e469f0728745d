"""Accuracy of the trained vision checkpoints, through the runtime, on drawings that they have never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime import pipeline
from tests.checkpoints.train import captioning
from tests.checkpoints.train.shape_classifier import HELDOUT_SEED
from tests.checkpoints.train.shape_detector import heldout
from tests.checkpoints.train.shapes import LABELS, Box, Shape, portrait
from tests.text_bundles import TextBundles

DRAWINGS = 200
ACCURACY_FLOOR = 0.9
FOUND_FLOOR = 0.7  # shapes with the right label and an intersection over union above 0.5
FALSE_CEILING = 0.2  # of all answers
CAPTION_FLOOR = 0.9  # captions right to the letter


def test_image_classification_is_right(shapes_repository: Path) -> None:
    random = np.random.default_rng(HELDOUT_SEED)
    drawings = [portrait(random, (48, 48)) for _ in range(DRAWINGS)]
    pipe = pipeline("image-classification", shapes_repository / "classifier")
    answers = pipe([image for image, _ in drawings], top_k=1, batch_size=16)
    right = [answer[0]["label"] == LABELS[label] for answer, (_, label) in zip(answers, drawings, strict=True)]
    assert np.mean(right) >= ACCURACY_FLOOR


def test_object_detection_finds_shapes(shapes_repository: Path) -> None:
    scenes = heldout(100)
    pipe = pipeline("object-detection", shapes_repository / "detector")
    answers = pipe([image for image, _ in scenes], batch_size=16)
    found = wanted = false = 0
    for answer, (_, shapes) in zip(answers, scenes, strict=True):
        left = list(shapes)
        for record in answer:
            box = tuple(float(record["box"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            hit = next((s for s in left if LABELS[s.label] == record["label"] and overlap(s, box) > 0.5), None)
            if hit is None:
                false += 1
            else:
                left.remove(hit)
        wanted += len(shapes)
        found += len(shapes) - len(left)
    assert found / wanted >= FOUND_FLOOR, f"{found} of {wanted} found"
    assert false / (found + false) <= FALSE_CEILING, f"{false} false beside {found}"


def test_captions_are_right(text_bundles: TextBundles) -> None:
    """Two shapes, their colours and how they lie, in pictures that were never trained on."""
    pictures = captioning.heldout(100)
    answers = pipeline("image-to-text", text_bundles("captioner"))([one.image for one in pictures], batch_size=8)
    right = [answer[0]["generated_text"] == one.caption for answer, one in zip(answers, pictures, strict=True)]
    assert np.mean(right) >= CAPTION_FLOOR


def overlap(shape: Shape, box: tuple[float, ...]) -> float:
    """Intersection over union."""
    first: Box = shape.box
    width = min(first[2], box[2]) - max(first[0], box[0])
    height = min(first[3], box[3]) - max(first[1], box[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (area(first) + area(box) - common)


def area(box: tuple[float, ...]) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
