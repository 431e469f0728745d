"""The image side of `onward run`: what is read from the command line or standard input, and `--save`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from runtime.errors import InputError


def reads_images(pipe: Any) -> bool:
    """Whether a pipeline takes an image rather than a text."""
    return pipe.manifest.image is not None


def read_image(argument: str | None) -> Any:
    """A path, URL or base64 as it is; without an argument, the image file on standard input, decoded."""
    from runtime.images import decode_image

    if argument is not None:
        return argument
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("nothing to look at: give an image, or pipe one in")
    return decode_image(sys.stdin.buffer.read(), "standard input")


def check_save(pipe: Any, target: Path | None) -> None:
    """Refuse `--save` before the model runs: for tasks without boxes, and for formats that Pillow cannot write."""
    if target is None:
        return
    if pipe.task != "object-detection":
        raise InputError(f"--save draws boxes, {pipe.task} has none: leave it out")
    from PIL import Image

    Image.init()
    if Image.EXTENSION.get(target.suffix.lower()) not in Image.SAVE:
        raise InputError(f"--save {target}: give a file name that ends in .png or .jpg")


def save_drawing(question: Any, answer: Any, target: Path) -> None:
    """Write the image with the boxes of the answer to `target`."""
    from runtime.images import load_image
    from runtime.images.draw import draw_boxes

    draw_boxes(load_image(question), answer).save(target)
