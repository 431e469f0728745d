"""The image steps of a bundle, in Pillow and numpy: bit for bit what HF's processor gives with `backend="pil"`.

Source of the behaviour: transformers 5.23 `image_processing_backends.py` (`PilBackend`) and `image_transforms.py`.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.bundle.manifest import ImageSpec
from runtime.errors import InputError
from runtime.images.sizes import Size, resized

Pixels = NDArray[np.uint8]  # [height, width, 3]


class ImageProcessor:
    """Resize, crop, rescale, normalise, pad: one image to the graph's inputs."""

    def __init__(self, spec: ImageSpec) -> None:
        self.spec = spec
        self._table = value_table(spec)

    def __call__(self, image: Image.Image | NDArray[Any]) -> dict[str, NDArray[Any]]:
        """`pixel_values` float32 `[1, 3, height, width]`, and where the spec says so `pixel_mask` int64.

        image: RGB. Raises `InputError` for an image that is too narrow or too large for these steps.
        """
        spec = self.spec
        pixels = self._resize(as_rgb_pixels(image))
        if spec.crop:
            pixels = center_crop(pixels, spec.crop)
        values = np.stack([column[pixels[..., i]] for i, column in enumerate(self._table)])
        if spec.reverse_channels:
            values = values[::-1]
        height, width = values.shape[1:]
        padded = self._padded_size((height, width))
        inputs: dict[str, NDArray[Any]] = {"pixel_values": pad(values, padded)[None]}
        if spec.pixel_mask:
            inputs["pixel_mask"] = pad(np.ones((height, width), np.int64), padded)[None]
        return inputs

    def _resize(self, pixels: Pixels) -> Pixels:
        if not self.spec.size:
            return pixels
        height, width = resized(pixels.shape[:2], self.spec.size, self.spec.size_multiple)
        if height < 1 or width < 1:
            raise InputError(
                f"an image of {pixels.shape[1]} x {pixels.shape[0]} pixels would be resized to {width} x {height}: "
                "it is too narrow for this model"
            )
        # The filter is a number of PIL.Image.Resampling.
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling(self.spec.resample)))

    def _padded_size(self, size: Size) -> Size:
        target = self.spec.pad_size or size
        if target[0] < size[0] or target[1] < size[1]:
            raise InputError(f"an image of {size[1]} x {size[0]} pixels does not fit in {target[1]} x {target[0]}")
        return target


def value_table(spec: ImageSpec) -> NDArray[np.float32]:
    """What each of the 256 values of a channel becomes, float32 `[3, 256]`: rescaling and normalising as a look-up.

    HF rescales in float64, rounds to float32, and normalises in float32.
    """
    values = np.arange(256, dtype=np.float32)
    if spec.rescale_factor is not None:
        values = (np.arange(256, dtype=np.float64) * spec.rescale_factor).astype(np.float32)
    table = np.tile(values, (3, 1))
    if spec.mean:
        mean, std = (np.array(numbers, dtype=np.float32)[:, None] for numbers in (spec.mean, spec.std))
        table = (table - mean) / std
    return table


def center_crop(pixels: Pixels, size: Size) -> Pixels:
    """The middle of an image, zeros around it where the image is smaller."""
    (height, width), (crop_height, crop_width) = pixels.shape[:2], size
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    if top >= 0 and left >= 0:
        return pixels[top : top + crop_height, left : left + crop_width]
    tall, wide = max(crop_height, height), max(crop_width, width)
    canvas = np.zeros((tall, wide, pixels.shape[2]), pixels.dtype)
    above, before = ceil((tall - height) / 2), ceil((wide - width) / 2)
    canvas[above : above + height, before : before + width] = pixels
    top, left = top + above, left + before
    return canvas[max(0, top) : top + crop_height, max(0, left) : left + crop_width]


def pad(values: NDArray[Any], size: Size) -> NDArray[Any]:
    """Zeros at the bottom and at the right of the last two axes."""
    rows, columns = size[0] - values.shape[-2], size[1] - values.shape[-1]
    if not rows and not columns:
        return np.ascontiguousarray(values)
    return np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, rows), (0, columns)])


def as_rgb_pixels(image: Image.Image | NDArray[Any]) -> Pixels:
    """uint8 `[height, width, 3]`. Arrays may have their channels first or last; first wins where both fit (HF)."""
    if isinstance(image, Image.Image):
        return np.asarray(image)
    pixels = np.asarray(image)
    if pixels.ndim != 3 or 3 not in (pixels.shape[0], pixels.shape[2]) or 0 in pixels.shape:
        raise InputError(
            f"an array of shape {list(pixels.shape)} is no RGB image: give [height, width, 3] or [3, height, width]"
        )
    if pixels.dtype != np.uint8:
        raise InputError(f"an array of {pixels.dtype} is no image: give uint8 values from 0 to 255")
    return np.moveaxis(pixels, 0, -1) if pixels.shape[0] == 3 else pixels
