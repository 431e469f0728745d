"""Accuracy of the trained vision checkpoints, through the runtime, on drawings that they have never seen."""

from __future__ import annotations

from pathlib import Path

from tests.accuracy import metrics
from tests.text_bundles import TextBundles

ACCURACY_FLOOR = 0.9
FOUND_FLOOR = 0.7  # of all shapes
FALSE_CEILING = 0.2  # of all answers
CAPTION_FLOOR = 0.9


def test_image_classification_is_right(shapes_repository: Path) -> None:
    assert metrics.shapes(shapes_repository / "classifier") >= ACCURACY_FLOOR


def test_object_detection_finds_shapes(shapes_repository: Path) -> None:
    seen = metrics.detections(shapes_repository / "detector")
    assert seen.found / seen.wanted >= FOUND_FLOOR, seen
    assert seen.false / (seen.found + seen.false) <= FALSE_CEILING, seen


def test_captions_are_right(text_bundles: TextBundles) -> None:
    assert metrics.captions(text_bundles("captioner")) >= CAPTION_FLOOR
