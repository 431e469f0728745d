"""Loads an image as transformers does: `load_image` in `image_utils.py` (5.23).

Paths, http(s) URLs, base64 and data: strings, and PIL images become upright RGB images. Beyond HF, `bytes` (a file's
content) and `pathlib.Path` are taken too.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from runtime.errors import InputError
from runtime.images.download import download

SHOWN = 60  # characters of a string in an error message: base64 goes on for megabytes


def load_image(image: Any, timeout: float | None = None) -> Image.Image:
    """An RGB image, EXIF orientation applied. `timeout` (seconds) is for URLs.

    Raises `InputError` for anything that is no image: no such file, unreadable, truncated, a decompression bomb
    (more than twice `PIL.Image.MAX_IMAGE_PIXELS`).
    """
    if isinstance(image, Image.Image):
        return as_rgb(image, "the image")
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_image(bytes(image))
    if isinstance(image, os.PathLike):
        return _load_string(os.fspath(image), timeout)
    if isinstance(image, str):
        return _load_string(image, timeout)
    raise InputError(f"an image is a path, an http(s) URL, a base64 string or a PIL image, not {type(image).__name__}")


def decode_image(
    content: bytes, name: str = "the image", formats: tuple[str, ...] | None = None, max_pixels: int | None = None
) -> Image.Image:
    """An RGB image from a file's content.

    formats: those of Pillow that are tried, if it has them; all by default. max_pixels: more are refused undecoded.
    """
    return _open(io.BytesIO(content), name, formats, max_pixels)


def decode_base64(text: str, name: str = "the base64 text") -> bytes:
    """The bytes behind a base64 or `data:image/...;base64,` string; line breaks are allowed, as in MIME."""
    _, comma, tail = text.partition(",") if text.startswith("data:") else ("", "", text)
    if text.startswith("data:") and not comma:
        raise InputError(f"{name} is a data: URL without a comma: write data:image/png;base64,<base64>")
    try:
        return base64.b64decode("".join(tail.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{name} is not valid base64: {error}") from error


def as_rgb(image: Image.Image, name: str) -> Image.Image:
    """Turn an image upright by its EXIF orientation and convert it to RGB, as HF does."""
    try:
        return ImageOps.exif_transpose(image).convert("RGB")
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # decoders raise whatever their format's parser stumbled over
        raise InputError(f"{name} is truncated or damaged: {_one_line(error)}") from error


def _load_string(text: str, timeout: float | None) -> Image.Image:
    if text.startswith(("http://", "https://")):
        return decode_image(download(text, timeout), _shown(text))
    # Path.is_file raises for a base64 string that is longer than a path may be.
    if os.path.isfile(text):  # noqa: PTH113
        with Path(text).open("rb") as file:
            return _open(file, text)
    if text.startswith("data:image/"):
        return decode_image(decode_base64(text), "the data: image")
    try:
        content = decode_base64(text)
    except InputError:
        raise InputError(f"no such image: {_shown(text)!r} is no file, no http(s) URL and no base64") from None
    if not content:
        raise InputError("the image is an empty string: give a path, an http(s) URL or base64")
    try:
        return decode_image(content, "the base64 image")
    except InputError as error:
        # A short word can be both: what was meant is a path then.
        raise error if len(text) > SHOWN else InputError(f"no such image file: {text!r}") from None


def _open(
    file: BinaryIO, name: str, formats: tuple[str, ...] | None = None, max_pixels: int | None = None
) -> Image.Image:
    try:
        with Image.open(file, formats=None if formats is None else available(formats)) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise InputError(
                    f"{name} has {image.width} x {image.height} pixels, {max_pixels} are the most: shrink it"
                )
            return as_rgb(image, name)
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not an image, or of a format that Pillow cannot read here") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large, it could be a decompression bomb: {_one_line(error)}") from error
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's parsers raise every kind of exception for a damaged header
        raise InputError(f"{name} cannot be read as an image: {_one_line(error)}") from error


def available(formats: tuple[str, ...]) -> list[str]:
    """Those that this Pillow was built with: AVIF and WebP are options."""
    Image.init()
    return [name for name in formats if name in Image.OPEN]


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
