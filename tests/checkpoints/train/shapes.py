"""Drawn shapes: the data of the small vision checkpoints, and of the tests that measure them.

A scene is a noisy background with shapes of random colour, size and turn. The same seed draws the same scene.
"""

from collections.abc import Sequence
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

LABELS = ("circle", "square", "triangle", "star", "cross", "ring")
SCALE = 3  # drawn larger, then reduced: smooth edges
NOISE = 18.0
CONTRAST = 90  # a shape differs from its background by at least this in some channel

Box = tuple[float, float, float, float]  # xmin, ymin, xmax, ymax in pixels


class Shape(NamedTuple):
    """One shape of a scene: its label id and what it covers."""

    label: int
    box: Box


def scene(
    random: np.random.Generator, size: tuple[int, int], cells: Sequence[tuple[int, int]]
) -> tuple[Image.Image, list[Shape]]:
    """An image of ``size`` (width, height) with one shape whose centre is in each of ``cells``.

    cells: (column, row) of a grid of 3 by 3, all different.
    """
    width, height = size
    background = random.integers(0, 256, 3)
    image = Image.new("RGB", (width * SCALE, height * SCALE), tuple(int(v) for v in background))
    draw = ImageDraw.Draw(image)
    shapes = []
    for column, row in cells:
        radius = min(size) * random.uniform(0.11, 0.16)
        x = (column + random.uniform(0.3, 0.7)) * width / 3
        y = (row + random.uniform(0.3, 0.7)) * height / 3
        shapes.append(_draw(draw, random, (x, y), radius, background))
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float32)
    noisy = pixels + random.normal(0, NOISE, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), shapes


def portrait(random: np.random.Generator, size: tuple[int, int]) -> tuple[Image.Image, int]:
    """An image of ``size`` (width, height) with one large shape, and its label id."""
    width, height = size
    background = random.integers(0, 256, 3)
    image = Image.new("RGB", (width * SCALE, height * SCALE), tuple(int(v) for v in background))
    radius = min(size) * random.uniform(0.25, 0.42)
    centre = (width * random.uniform(0.42, 0.58), height * random.uniform(0.42, 0.58))
    shape = _draw(ImageDraw.Draw(image), random, centre, radius, background)
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float32)
    noisy = pixels + random.normal(0, NOISE, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), shape.label


def _draw(
    draw: ImageDraw.ImageDraw,
    random: np.random.Generator,
    centre: tuple[float, float],
    radius: float,
    background: np.ndarray,
) -> Shape:
    label = int(random.integers(len(LABELS)))
    ink = _ink(random, background)
    points = outline(LABELS[label], centre, radius, random.uniform(0, 2 * pi))
    draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=ink)
    if LABELS[label] == "ring":
        hole = outline("circle", centre, radius * 0.55, 0.0)
        draw.polygon([(x * SCALE, y * SCALE) for x, y in hole], fill=tuple(int(v) for v in background))
    xs, ys = zip(*points, strict=True)
    return Shape(label, (min(xs), min(ys), max(xs), max(ys)))


def _ink(random: np.random.Generator, background: np.ndarray) -> tuple[int, int, int]:
    while True:
        ink = random.integers(0, 256, 3)
        if np.abs(ink - background).max() >= CONTRAST:
            red, green, blue = (int(v) for v in ink)
            return red, green, blue


def outline(name: str, centre: tuple[float, float], radius: float, turn: float) -> list[tuple[float, float]]:
    """The corners of a shape."""
    if name in ("circle", "ring"):
        polar = [(1.0, 2 * pi * step / 40) for step in range(40)]
    elif name == "star":
        polar = [(1.0 if step % 2 == 0 else 0.42, pi * step / 5) for step in range(10)]
    elif name == "cross":
        polar = [_polar(x, y) for x, y in _CROSS]
    else:
        corners = {"square": 4, "triangle": 3}[name]
        polar = [(1.0, 2 * pi * step / corners) for step in range(corners)]
    return [(centre[0] + radius * r * cos(a + turn), centre[1] + radius * r * sin(a + turn)) for r, a in polar]


_ARM = 0.28
_QUARTER = [(1.0, -_ARM), (1.0, _ARM), (_ARM, _ARM)]
_CROSS = [
    (x * cos(pi / 2 * turn) - y * sin(pi / 2 * turn), x * sin(pi / 2 * turn) + y * cos(pi / 2 * turn))
    for turn in range(4)
    for x, y in _QUARTER
]


def _polar(x: float, y: float) -> tuple[float, float]:
    return float(np.hypot(x, y)), float(np.arctan2(y, x))
