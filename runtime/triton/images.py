"""Vision tasks under Triton: all requests that the dynamic batcher hands over run together.

Input `image` [n, 1] (BYTES): the content of an image file, or the same in base64 (what JSON can carry; a
`data:image/...;base64,` prefix may stay). Paths and URLs are not followed: the server reads nothing for its clients.

- image-classification: optional `top_k` [n, 1]; outputs `label` and `score` [n, k], best first.
- object-detection: optional `threshold` [n, 1]; outputs `label` and `score` [n, m], `box` [n, m, 4] (xmin, ymin, xmax,
  ymax in pixels of the image), where m is the most objects that an image of the request has; the rows of the others end
  with "" and zeros.

Both have `json` [n, 1]: the answer of the pipeline. Arguments have its defaults and are the same in all rows; `options`
has those without a tensor of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image

from runtime.errors import InputError
from runtime.images import decode_image
from runtime.images.load import decode_base64
from runtime.triton.batching import BatchedModel
from runtime.triton.options import read_options
from runtime.triton.settings import ImageSettings
from runtime.triton.tensors import array, scalar, strings

ARGUMENTS = {"image-classification": "top_k", "object-detection": "threshold"}
# What photographs come in. Pillow has many more parsers, which nobody needs and which are less well trodden.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
SIDES = ("xmin", "ymin", "xmax", "ymax")

Answer = list[dict[str, Any]]  # of one image


@dataclass(frozen=True)
class Job:
    """One request, read."""

    images: list[Image.Image]
    arguments: dict[str, Any]


class ImageTaskModel(BatchedModel[Job, list[Answer]]):
    """Answers batches of requests with an image pipeline."""

    _settings: ImageSettings

    def __init__(self, pipe: Any, settings: ImageSettings) -> None:
        super().__init__(pipe, settings)
        self.run([Job([Image.new("RGB", (64, 48), "grey")], {})])

    def read(self, request: Any) -> Job:
        """A request's tensors as a job. Raises `InputError`."""
        name = ARGUMENTS[self._pipe.task]
        value = scalar(request, name)
        options = image_options(request, self._settings)
        _, _, checked = self._pipe._sanitize_parameters(**(options if value is None else options | {name: value}))
        return Job(read_images(request, self._settings), checked)

    def run(self, jobs: list[Job]) -> list[list[Answer]]:
        """All images in one batch, each job's answers with its own arguments."""
        items = [self._pipe.preprocess(image) for job in jobs for image in job.images]
        outputs = iter(self._pipe._forward_batch(items))
        return [[self._pipe.postprocess(next(outputs), **job.arguments) for _ in job.images] for job in jobs]

    def respond(self, request: Any, answer: list[Answer]) -> Any:
        """The outputs that were asked for."""
        wanted = set(request.requested_output_names())
        outputs = [tensor for tensor in tensors(answer) if tensor.name() in wanted]
        return pb_utils.InferenceResponse(outputs)


def image_options(request: Any, settings: ImageSettings) -> dict[str, Any]:
    """`options`, without those that are about where an image is fetched from. Raises `InputError`."""
    options = read_options(request, settings.max_text_bytes) or {}
    options.pop("timeout", None)
    options.pop("item", None)
    if "task" in options:
        raise InputError("this model does its own task only: leave task out")
    return options


def read_images(request: Any, settings: ImageSettings) -> list[Image.Image]:
    """The images of a request. Raises `InputError` for one that is too large, damaged or none at all."""
    values = array(request, "image")
    if values is None or values.size == 0:
        raise InputError("image is missing or empty")
    flat = [bytes(value) for value in values.reshape(-1)]
    return [read_image(content, f"image[{row}]", settings) for row, content in enumerate(flat)]


def read_image(content: bytes, name: str, settings: ImageSettings) -> Image.Image:
    """One image from a file's content, plain or in base64."""
    limit = settings.max_image_bytes
    # Base64 is a third longer than what it stands for.
    if len(content) > (limit * 3 // 2 if content.isascii() else limit):
        raise InputError(f"{name} has {len(content)} bytes; this server takes images of at most {limit} bytes")
    if content.isascii():
        content = decode_base64(content.decode("ascii"), name)
    return decode_image(content, name, FORMATS, settings.max_image_pixels)


def tensors(answer: list[Answer]) -> list[Any]:
    """All outputs for the images of one request."""
    width = max(len(one) for one in answer)
    shape = (len(answer), width)
    labels, scores = np.full(shape, "", dtype=object), np.zeros(shape, dtype=np.float32)
    boxes = np.zeros((*shape, 4), dtype=np.int32)
    for row, one in enumerate(answer):
        for column, entry in enumerate(one):
            labels[row, column], scores[row, column] = entry["label"], entry["score"]
            boxes[row, column] = [entry["box"][side] for side in SIDES] if "box" in entry else 0
    lines = [json.dumps(one, ensure_ascii=False) for one in answer]
    return [
        strings("label", list(labels.reshape(-1)), shape),
        pb_utils.Tensor("score", scores),
        pb_utils.Tensor("box", boxes),
        strings("json", lines, (len(answer), 1)),
    ]
