"""Draws what a detector found: a box, a label and a score for each object."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]


def draw_boxes(image: Image.Image, objects: Sequence[dict[str, Any]]) -> Image.Image:
    """A copy of an RGB image with `[{"score", "label", "box"}]` drawn on it; every label has a colour of its own."""
    canvas = image.copy()
    draw = ImageDraw.Draw(canvas)
    width = max(1, round(max(image.size) / 300))
    font = ImageFont.load_default(max(9.0, max(image.size) / 50))
    for found in objects:
        box, ink = found["box"], colour(found["label"])
        corners = (box["xmin"], box["ymin"], max(box["xmin"], box["xmax"]), max(box["ymin"], box["ymax"]))
        draw.rectangle(corners, outline=ink, width=width)
        write(draw, (corners[0], corners[1]), f"{found['label']} {found['score']:.2f}", ink, font)
    return canvas


def write(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, ink: Colour, font: Any) -> None:
    """Text on a ground of the box's colour, above its corner; inside of the image where there is no room above."""
    left, _, right, bottom = draw.textbbox((0, 0), text, font=font)
    x, y = max(corner[0], 0), max(corner[1] - round(bottom) - 2, 0)
    draw.rectangle((x, y, x + right - left + 4, y + bottom + 2), fill=ink)
    draw.text((x + 2, y), text, fill="black", font=font)


def colour(label: str) -> Colour:
    """A light colour that depends on the label alone."""
    hue = zlib.crc32(label.encode()) % 360 / 360
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.6, 0.9))
    return red, green, blue
