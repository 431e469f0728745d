"""COCO's mean average precision of an object detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exporter.evaluation.base import IMAGE, Evaluator, Example, Sheet, images_of, source_pipeline
from exporter.evaluation.columns import Role
from exporter.evaluation.metrics.detection import Boxes, mean_average_precision
from exporter.loading import Checkpoint
from runtime.errors import InputError

BOXES = Role("boxes", ("objects.bbox", "objects.boxes", "bbox", "bboxes"))
LABELS = Role("labels", ("objects.category", "objects.label", "objects.categories", "category", "categories", "label"))
SIDES = ("xmin", "ymin", "xmax", "ymax")


def examples(sheet: Sheet) -> list[Example]:
    """Images with their boxes: `bbox` columns hold COCO's [x, y, width, height], others [xmin, ymin, xmax, ymax]."""
    return [Example(images_of(sheet, index), objects(sheet, index)) for index in range(len(sheet))]


def objects(sheet: Sheet, index: int) -> Boxes:
    """What is to be found in an image."""
    given, labels = sheet.get(index, "boxes"), sheet.get(index, "labels")
    try:
        boxes = np.array(given, float).reshape(-1, 4)
    except (TypeError, ValueError) as error:
        raise InputError(f"{sheet.where(index)}: the boxes must be lists of four numbers") from error
    if not isinstance(labels, list) or len(labels) != len(boxes):
        raise InputError(f"{sheet.where(index)}: object-detection reads lists of boxes and as many labels")
    if "bbox" in sheet.columns["boxes"]:
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return Boxes(boxes, [sheet.label(index, label, "labels") for label in labels])


def ask(pipe: Any, images: Sequence[Example]) -> list[Any]:
    """Everything that is found, however unsure."""
    return [found_boxes(pipe(example.inputs, threshold=0.0)) for example in images]


def found_boxes(records: Sequence[dict[str, Any]]) -> Boxes:
    """From the pipeline's records."""
    boxes = np.array([[record["box"][side] for side in SIDES] for record in records], float).reshape(-1, 4)
    return Boxes(boxes, [record["label"] for record in records], [record["score"] for record in records])


def ask_source(checkpoint: Checkpoint, images: Sequence[Example]) -> list[Any]:
    """Through HF's pipeline."""
    return ask(source_pipeline("object-detection", checkpoint), images)


def score(answers: Sequence[Any], images: Sequence[Example], _: Sequence[Any]) -> dict[str, float]:
    """IoU 0.50 to 0.95."""
    return {"mAP 50–95": mean_average_precision(answers, [example.gold for example in images])}


OBJECT_DETECTION = Evaluator((IMAGE, BOXES, LABELS), examples, ask_source, ask, score)
