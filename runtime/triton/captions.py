"""image-to-text under Triton: `image` [n, 1] as for the other image tasks, optional `max_new_tokens`; `json` [n, 1]."""

from __future__ import annotations

import json
from typing import Any

import triton_python_backend_utils as pb_utils

from runtime.triton.cancellation import CancellationWatch
from runtime.triton.images import Answer, ImageTaskModel, Job, image_options, read_images
from runtime.triton.settings import ImageSettings
from runtime.triton.tensors import scalar, strings


class CaptionModel(ImageTaskModel):
    """Answers requests with the captioning pipeline; the images of a request are captioned together."""

    def __init__(self, pipe: Any, settings: ImageSettings) -> None:
        super().__init__(pipe, settings)
        self._watch = CancellationWatch()

    def read(self, request: Any) -> Job:
        """A request's tensors as a job. Raises `InputError`."""
        value = scalar(request, "max_new_tokens")
        options = image_options(request, self._settings)
        given = options if value is None else options | {"max_new_tokens": int(value)}
        pre, forward, _ = self._pipe._sanitize_parameters(**given)
        return Job(read_images(request, self._settings), {"preprocess": pre, "forward": forward})

    def run(self, jobs: list[Job]) -> list[list[Answer]]:
        """Job by job: their lengths differ."""
        return [self._caption(job) for job in jobs]

    def _caption(self, job: Job) -> list[Answer]:
        before, forward = job.arguments.get("preprocess", {}), job.arguments.get("forward", {})  # a warm-up has none
        items = [self._pipe.preprocess(image, **before) for image in job.images]
        outputs = self._pipe._forward_batch(items, **forward)
        return [self._pipe.postprocess(output) for output in outputs]

    def respond(self, request: Any, answer: list[Answer]) -> Any:
        """Captions as JSON."""
        lines = [json.dumps(one, ensure_ascii=False) for one in answer]
        return pb_utils.InferenceResponse([strings("json", lines, (len(answer), 1))])
