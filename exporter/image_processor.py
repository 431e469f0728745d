"""HF image processor -> `ImageSpec`: by its attributes, and where those say nothing, by what it does.

A processor with steps of its own gets the nearest spec here, and is refused by `validation/images.py`, which compares
pixel values bit for bit in every export.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from exporter.quiet import quiet
from runtime.bundle import ImageSpec
from runtime.errors import ExportError
from runtime.images.sizes import resized

CONFIG_FILES = ("preprocessor_config.json", "processor_config.json")
# (width, height): whether sides are cut to a multiple shows in sizes that are none.
SIZE_PROBES = ((97, 131), (211, 83), (60, 60))
MULTIPLES = (1, 2, 4, 8, 14, 16, 28, 32, 64)
# ConvNeXt's rule (transformers `image_processing_pil_convnext.py`): below this, resize to more and crop.
CROP_PCT_BELOW = 384


def has_image_processor(directory: Path) -> bool:
    """Whether the files of an image processor are there."""
    return any((directory / name).is_file() for name in CONFIG_FILES)


def describe_image_processor(processor: Any) -> ImageSpec:
    """The steps of a processor (`backend="pil"`). Raises `ExportError` for one without pixel values."""
    size, crop = size_and_crop(processor)
    normalise, rescale = bool(flag(processor, "do_normalize")), flag(processor, "do_rescale")
    pad_size = edges(flag(processor, "pad_size")) if flag(processor, "do_pad") else None
    return ImageSpec(
        size=size,
        resample=int(resample) if (resample := flag(processor, "resample")) is not None else 2,
        size_multiple=size_multiple(processor, size),
        crop=crop,
        rescale_factor=float(processor.rescale_factor) if rescale else None,
        mean=numbers(processor.image_mean) if normalise else [],
        std=numbers(processor.image_std) if normalise else [],
        reverse_channels=bool(flag(processor, "do_flip_channel_order")),
        pad_size=(pad_size["height"], pad_size["width"]) if pad_size else None,
        pixel_mask="pixel_mask" in outputs(processor, SIZE_PROBES[0]),
    )


def save_image_processor(processor: Any, directory: Path) -> ImageSpec:
    """Save its files into the bundle, for people, and describe it for the runtime."""
    processor.save_pretrained(directory)
    return describe_image_processor(processor)


def size_and_crop(processor: Any) -> tuple[dict[str, int], tuple[int, int] | None]:
    """What an image is resized to, and the crop from its centre."""
    size = edges(flag(processor, "size")) if flag(processor, "do_resize") else {}
    crop_size = edges(flag(processor, "crop_size")) if flag(processor, "do_center_crop") else {}
    crop = (crop_size["height"], crop_size["width"]) if crop_size else None
    pct = flag(processor, "crop_pct")
    if pct is None or list(size) != ["shortest_edge"]:
        return size, crop
    edge = size["shortest_edge"]
    if edge >= CROP_PCT_BELOW:
        return {"height": edge, "width": edge}, crop
    return {"shortest_edge": int(edge / pct)}, (edge, edge)


def size_multiple(processor: Any, size: dict[str, int]) -> int:
    """The number whose multiples resized images have as sides: YOLOS has 16 in its code and nowhere else."""
    if "longest_edge" not in size:
        return 1
    for multiple in MULTIPLES:
        expected = [resized((height, width), size, multiple) for width, height in SIZE_PROBES]
        if all(pixel_size(processor, probe) == wanted for probe, wanted in zip(SIZE_PROBES, expected, strict=True)):
            return multiple
    return 1  # the comparison of pixel values will say what is wrong


def pixel_size(processor: Any, size: tuple[int, int]) -> tuple[int, int] | None:
    """(height, width) of a black image's pixel values."""
    values = outputs(processor, size).get("pixel_values")
    return None if values is None else (int(values.shape[-2]), int(values.shape[-1]))


def outputs(processor: Any, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """What the processor makes of a black image of `(width, height)`."""
    with quiet():
        try:
            return dict(processor(images=Image.new("RGB", size), return_tensors="np"))
        except Exception as error:  # whatever a processor's code raises
            kind = type(processor).__name__
            raise ExportError(f"{kind} cannot process an RGB image: {' '.join(str(error).split())[:200]}") from error


def flag(processor: Any, name: str) -> Any:
    """An attribute, None where the processor has none."""
    return getattr(processor, name, None)


def edges(size: Any) -> dict[str, int]:
    """A `SizeDict` or dict without what is not set."""
    return {name: int(value) for name, value in dict(size or {}).items() if value}


def numbers(values: Any) -> list[float]:
    """One number, or one a channel, as a list."""
    return [float(value) for value in np.atleast_1d(np.asarray(values, dtype=np.float64))]
