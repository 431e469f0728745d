"""Random-weight vision checkpoints of many architectures: config, weights and image processor in a folder."""

from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig

from exporter.tasks import class_names
from tests.checkpoints.vision_rows import CLASSIFIER_ROWS, DETECTOR_ROWS, Row
from tests.checkpoints.weights import seeded_model

SEED = 7


def tiny_image_classifier(model_type: str, path: Path | str, num_labels: int = 7, **overrides: Any) -> Path:
    """An image classifier of ``model_type`` (a key of ``CLASSIFIER_ROWS``) with ``num_labels`` labels."""
    return _save("AutoModelForImageClassification", model_type, CLASSIFIER_ROWS, Path(path), num_labels, overrides)


def tiny_detector(model_type: str, path: Path | str, num_labels: int = 5, **overrides: Any) -> Path:
    """An object detector of ``model_type`` (a key of ``DETECTOR_ROWS``) with ``num_labels`` labels."""
    return _save("AutoModelForObjectDetection", model_type, DETECTOR_ROWS, Path(path), num_labels, overrides)


def _save(
    auto_class: str, model_type: str, rows: dict[str, tuple[Row, str, Row]], path: Path, num_labels: int, overrides: Row
) -> Path:
    row, processor_class, settings = rows[model_type]
    names = {"id2label": {index: f"thing {index}" for index in range(num_labels)}}
    config = AutoConfig.for_model(model_type, **row | names | overrides)
    # The first class of several is the plain head; DeiT also has one with a teacher.
    head = class_names(auto_class, model_type)[0]
    model = seeded_model(lambda: getattr(transformers, head)(config), SEED)
    model.save_pretrained(path)
    getattr(transformers, f"{processor_class}Pil")(**settings).save_pretrained(path)
    return path
