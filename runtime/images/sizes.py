"""Sizes after resizing, with the rounding of transformers 5.23 (`image_transforms.py`, `image_utils.py`)."""

from __future__ import annotations

from collections.abc import Mapping

Size = tuple[int, int]  # (height, width)


def resized(image: Size, size: Mapping[str, int], multiple: int = 1) -> Size:
    """The size that an image of `(height, width)` is resized to.

    size: HF's keys (see `ImageSpec`). multiple: both sides are cut to multiples of it (YOLOS: 16).
    """
    if size.get("shortest_edge") and size.get("longest_edge"):
        found = between(image, size["shortest_edge"], size["longest_edge"], keep=multiple == 1)
    elif size.get("shortest_edge"):
        found = shortest(image, size["shortest_edge"])
    elif size.get("max_height"):
        found = within(image, size["max_height"], size["max_width"])
    else:
        found = size["height"], size["width"]
    return found[0] - found[0] % multiple, found[1] - found[1] % multiple


def shortest(image: Size, edge: int) -> Size:
    """The shorter side becomes `edge` (`get_resize_output_image_size`)."""
    height, width = image
    longer = int(edge * max(image) / min(image))
    return (longer, edge) if width <= height else (edge, longer)


def between(image: Size, edge: int, longest: int, keep: bool) -> Size:
    """The shorter side becomes `edge`, or less, so that the longer one does not exceed `longest`.

    Source: `get_size_with_aspect_ratio`. keep: an image whose shorter side fits already keeps its size, even where its
    longer side is over `longest` by less than rounding; the variant of processors with a multiple lacks that.
    """
    height, width = image
    low, high = float(min(image)), float(max(image))
    exact: float = edge
    if high / low * edge > longest:
        exact = longest * low / high
        edge = round(exact)
    if min(image) == edge and (keep or width >= height):
        return image
    if width < height:
        return int(exact * height / width), edge
    return edge, int(exact * width / height)


def within(image: Size, max_height: int, max_width: int) -> Size:
    """As large as possible inside of a box, the aspect ratio kept (`get_image_size_for_max_height_width`)."""
    height, width = image
    scale = min(max_height / height, max_width / width)
    return int(height * scale), int(width * scale)
