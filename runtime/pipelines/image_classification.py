"""image-classification (transformers 5.23 `pipelines/image_classification.py`)."""

from __future__ import annotations

from typing import Any

from runtime.errors import InputError
from runtime.images import load_image
from runtime.pipelines.scores import FUNCTIONS, default_function, function_name
from runtime.pipelines.vision import VisionPipeline, refuse_unknown


class ImageClassificationPipeline(VisionPipeline):
    """Labels of an image with scores, best first.

    `pipe("cat.png")` -> `[{"label", "score"}]`; `pipe(["a.png", "b.png"])` -> a list of those. `top_k`: 5, or all
    labels where there are fewer. `function_to_apply`: "sigmoid", "softmax" or "none". `timeout`: seconds, for URLs.
    An image is a path, URL, base64 or data: string, PIL image, or a uint8 array `[height, width, 3]`.
    """

    task = "image-classification"

    def preprocess(self, inputs: Any, timeout: float | None = None) -> dict[str, Any]:
        """`pixel_values` float32 `[1, 3, height, width]`."""
        # Arrays and tensors, as in HF only here: they say of themselves that they are pixels.
        return dict(self.processor(inputs if hasattr(inputs, "__array__") else load_image(inputs, timeout)))

    def postprocess(
        self, model_outputs: dict[str, Any], function_to_apply: str | None = None, top_k: int = 5
    ) -> list[dict[str, Any]]:
        """Logits of one image -> its `top_k` labels."""
        scores = FUNCTIONS[function_to_apply or default_function(self.manifest)](model_outputs["logits"][0])
        labels = self.manifest.labels
        answer = [{"label": label, "score": score.item()} for label, score in zip(labels, scores, strict=True)]
        answer.sort(key=lambda item: item["score"], reverse=True)
        return answer[:top_k]

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        timeout: float | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        refuse_unknown(self.task, unknown, ("top_k", "function_to_apply", "timeout"))
        post: dict[str, Any] = {}
        if top_k is not None:
            post["top_k"] = check_top_k(top_k)
        if function_to_apply is not None:
            post["function_to_apply"] = function_name(function_to_apply)
        return {} if timeout is None else {"timeout": timeout}, {}, post


def check_top_k(top_k: Any) -> int:
    """A number of labels, not negative, or an `InputError`."""
    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 0:
        raise InputError(f"top_k must be a number of labels, not {top_k!r}")
    return top_k
