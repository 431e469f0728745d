"""Pictures of two shapes and what they show: the data of the captioning checkpoint.

"a red circle above a blue square": the shape that is named first lies above or to the left of the other. The same
random state draws the same picture.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tests.checkpoints.train.shapes import outline

SIZE = 48
SCALE = 3  # drawn larger, then reduced: smooth edges
NOISE = 10.0
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 220, 40),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}
RELATIONS = ("above", "left of")
TURNS = {"square": np.pi / 4, "triangle": -np.pi / 2}


class Captioned(NamedTuple):
    """A picture and what it shows."""

    image: Image.Image
    caption: str


def captioned(random: np.random.Generator) -> Captioned:
    """An RGB picture of ``SIZE`` by ``SIZE`` with two shapes of different kind or colour."""
    relation = int(random.integers(len(RELATIONS)))
    words = [(str(random.choice(list(COLOURS))), str(random.choice(SHAPES))) for _ in range(2)]
    image = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), _background(random))
    draw = ImageDraw.Draw(image)
    for place, (colour, shape) in enumerate(words):
        along, across = 12 + 24 * place + random.uniform(-2.5, 2.5), random.uniform(16, 32)
        centre = (across, along) if relation == 0 else (along, across)
        points = outline(shape, centre, random.uniform(7.5, 9.5), TURNS.get(shape, 0.0) + random.uniform(-0.15, 0.15))
        draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=_shade(random, COLOURS[colour]))
    (first, one), (second, other) = words
    caption = f"a {first} {one} {RELATIONS[relation]} a {second} {other}"
    pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX), np.float32)
    noisy = pixels + random.normal(0, NOISE, pixels.shape)
    return Captioned(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), caption)


def _background(random: np.random.Generator) -> tuple[int, int, int]:
    """A grey or brown that no shape has."""
    grey = random.uniform(100, 150)
    red, green, blue = (int(grey + random.uniform(-12, 12)) for _ in range(3))
    return red, green, blue


def _shade(random: np.random.Generator, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (int(np.clip(value + random.uniform(-15, 15), 0, 255)) for value in colour)
    return red, green, blue
