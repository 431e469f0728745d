"""Level 1 of validation for images: the runtime's pixel values equal HF's bit for bit, on drawn probes.

The probes are what processors tend to stumble over: odd, tiny and very wide sizes, sizes that need no resizing, all
modes of Pillow, EXIF orientation, and files as they lie on disks.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from exporter.quiet import quiet
from exporter.validation.checks import Check
from runtime.errors import OnwardError
from runtime.images import ImageProcessor, load_image

# (width, height). Beside these, `own_sizes` has those at which the processor's rules change.
SIZES = ((61, 47), (47, 61), (64, 64), (5, 3), (1, 1), (301, 9), (9, 301), (333, 250))
MODES = ("RGBA", "L", "P", "CMYK", "LA", "1", "I;16", "YCbCr", "PA")
ORIENTATION = 0x0112  # EXIF tag


def drawing(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB image with gradients, edges and noise: every value of every channel occurs in a large one."""
    random = np.random.default_rng(seed)
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)[:, None]
    planes = [np.broadcast_to(x, (height, width)), np.broadcast_to(y, (height, width)), (x + y) / 2]
    noise = random.integers(-40, 41, (height, width, 3))
    image = Image.fromarray(np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        corners = random.integers(-width // 4, width + 1, 2), random.integers(-height // 4, height + 1, 2)
        box = [int(v) for v in (min(corners[0]), min(corners[1]), max(corners[0]), max(corners[1]))]
        draw.ellipse(box, fill=tuple(int(v) for v in random.integers(0, 256, 3)))
    return image


def probes(size: dict[str, int]) -> Iterator[tuple[str, Any]]:
    """(name, what is given to both sides). size: the processor's, for sizes at which its rules change."""
    for index, (width, height) in enumerate((*SIZES, *own_sizes(size))):
        yield f"{width}x{height}", drawing(width, height, index)
    for mode in MODES:
        yield f"mode {mode}", in_mode(drawing(75, 50, 99), mode)
    for orientation in range(2, 9):
        yield f"EXIF orientation {orientation}", rotated(drawing(53, 31, orientation), orientation)
    yield "base64 JPEG", base64.b64encode(encoded(drawing(80, 60, 7), "JPEG")).decode()
    yield "data: PNG", "data:image/png;base64," + base64.b64encode(encoded(drawing(33, 44, 8), "PNG")).decode()


def own_sizes(size: dict[str, int]) -> list[tuple[int, int]]:
    """(width, height) where rounding decides: the processor's own edges, a little more, and beyond its longest."""
    short = size.get("shortest_edge") or min(size.get("height", 0), size.get("width", 0))
    long = size.get("longest_edge") or 2 * short
    if not 0 < short <= 1600:
        return []
    beyond = long + 2
    return [(short, short + 1), (short + 1, short), (beyond, max(short * 3 // 4, 1)), (max(short // 10, 1), beyond)]


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in another of Pillow's modes; alpha is a gradient, so that it is not the same everywhere."""
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "P":
        return image.quantize(32)
    if mode == "PA":
        return image.quantize(32).convert("PA")
    if mode in ("RGBA", "LA"):
        image = image.copy()
        alpha = np.broadcast_to(np.linspace(0, 255, image.width).astype(np.uint8), (image.height, image.width))
        image.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    return image.convert(mode)


def rotated(image: Image.Image, orientation: int) -> Image.Image:
    """The image as a file that a camera wrote, reopened."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return Image.open(io.BytesIO(encoded(image, "JPEG", exif=exif)))


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def compare_images(processor: Any, ours: ImageProcessor) -> Check:
    """Both sides on all probes; two refusals count as equal. The figure is the number of probes that differ."""
    mismatches = []
    count = 0
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, image in probes(ours.spec.size):
            count += 1
            difference = differs(answer(hf_inputs, processor, image), answer(runtime_inputs, ours, image))
            if difference:
                mismatches.append(f"{name}: {difference}")
    kind = type(processor).__name__
    detail = f"{kind} does more than the runtime's steps can say, on {len(mismatches)} of {count} probes; "
    return Check(
        "inputs",
        "image processor",
        not mismatches,
        {"mismatches": len(mismatches)},
        detail + "; ".join(mismatches[:2]) if mismatches else "",
    )


def hf_inputs(processor: Any, image: Any) -> dict[str, np.ndarray]:
    """As HF's image pipelines do it."""
    from transformers.image_utils import load_image as hf_load_image

    return {
        name: np.asarray(value) for name, value in processor(images=[hf_load_image(image)], return_tensors="np").items()
    }


def runtime_inputs(processor: ImageProcessor, image: Any) -> dict[str, np.ndarray]:
    """As the runtime's pipelines do it."""
    return processor(load_image(image))


def answer(ask: Any, processor: Any, image: Any) -> dict[str, np.ndarray] | str:
    """The inputs, or the error as text: HF's processors raise every kind, the runtime only its own."""
    expected = OnwardError if ask is runtime_inputs else Exception
    try:
        found: dict[str, np.ndarray] = ask(processor, image)
    except expected as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    return found


def differs(expected: dict[str, np.ndarray] | str, found: dict[str, np.ndarray] | str) -> str:
    """How two answers differ, empty when they do not."""
    if isinstance(expected, str) or isinstance(found, str):
        both = isinstance(expected, str) and isinstance(found, str)
        return "" if both else f"{_shown(found)} instead of {_shown(expected)}"
    for name, values in expected.items():
        if name not in found:
            return f"{name} is not made"
        if found[name].shape != values.shape:
            return f"{name} is {list(found[name].shape)[1:]} instead of {list(values.shape)[1:]}"
        if not np.array_equal(found[name], values):
            error = float(np.abs(found[name].astype(np.float64) - values.astype(np.float64)).max())
            return f"{name} differs by up to {error:.1e}"
    return ""


def _shown(answer: dict[str, np.ndarray] | str) -> str:
    return answer if isinstance(answer, str) else "an answer"
