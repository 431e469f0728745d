"""Pictures for tests, drawn: gradients, shapes, noise and text in one, different for every seed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ORIENTATION = 0x0112  # EXIF tag


def picture(seed: int, width: int = 90, height: int = 70) -> Image.Image:
    """An RGB picture; the same arguments draw the same."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0, np.pi)
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    wave = 127 + 120 * np.sin(random.uniform(2, 9) * (x * np.cos(angle) + y * np.sin(angle)))
    planes = np.stack([wave, 255 - wave, 127 + 120 * x * y], -1) + random.normal(0, 12, (height, width, 3))
    image = Image.fromarray(np.clip(planes, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for shape in (draw.ellipse, draw.rectangle):
        left, top = random.integers(0, width), random.integers(0, height)
        box = (int(left), int(top), int(left) + width // 3 + 1, int(top) + height // 3 + 1)
        shape(box, fill=tuple(int(v) for v in random.integers(0, 256, 3)))
    draw.text((width // 5, height // 3), f"No {seed}", fill="white", font=ImageFont.load_default(max(8, height // 5)))
    return image


def as_file(image: Image.Image, path: Path, **options: Any) -> Path:
    """The picture saved."""
    image.save(path, **options)
    return path


def as_bytes(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    """The picture as the content of a file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def turned(image: Image.Image, orientation: int) -> bytes:
    """A JPEG as a camera writes it that was held differently: EXIF orientation 1 to 8."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return as_bytes(image, "JPEG", exif=exif)
