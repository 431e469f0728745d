"""object-detection (transformers 5.23 `pipelines/object_detection.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.images import load_image
from runtime.pipelines.boxes import Detections, detections
from runtime.pipelines.vision import VisionPipeline, refuse_unknown


class ObjectDetectionPipeline(VisionPipeline):
    """Objects of an image, in the model's order.

    `pipe("street.png")` -> `[{"score", "label", "box": {"xmin", "ymin", "xmax", "ymax"}}]`, boxes in whole pixels of
    the image given; `pipe(["a.png", "b.png"])` -> a list of those. `threshold`: scores above it are kept, 0.5 by
    default. `timeout`: seconds, for URLs. An image is a path, URL, base64 or data: string, or PIL image.
    """

    task = "object-detection"

    def preprocess(self, inputs: Any, timeout: float | None = None) -> dict[str, Any]:
        """`pixel_values` float32 `[1, 3, height, width]`, the mask, and `target_size` int64 `[1, 2]`."""
        image = load_image(inputs, timeout)
        return {**self.processor(image), "target_size": np.array([[image.height, image.width]])}

    def postprocess(self, model_outputs: dict[str, Any], threshold: float = 0.5) -> list[dict[str, Any]]:
        """Outputs of one image -> its objects whose score is over `threshold`."""
        height, width = model_outputs["target_size"][0].tolist()
        found = detections(
            model_outputs["logits"][0], model_outputs["pred_boxes"][0], (height, width), **self.manifest.postprocess
        )
        return [self._object(found, index) for index in np.flatnonzero(found.scores > threshold).tolist()]

    def _sanitize_parameters(
        self, threshold: float | None = None, timeout: float | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        refuse_unknown(self.task, unknown, ("threshold", "timeout"))
        post = {} if threshold is None else {"threshold": check_threshold(threshold)}
        return {} if timeout is None else {"timeout": timeout}, {}, post

    def _object(self, found: Detections, index: int) -> dict[str, Any]:
        sides = found.boxes[index].astype(np.int32).tolist()  # cut, not rounded, as in HF
        return {
            "score": found.scores[index].item(),
            "label": self.manifest.labels[found.labels[index]],
            "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)),
        }


def check_threshold(threshold: Any) -> float:
    """A number, or an `InputError`."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | np.number):
        raise InputError(f"threshold must be a number, not {threshold!r}")
    return float(threshold)
