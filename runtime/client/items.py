"""What each task sends: items as tensors `[n, 1]`, arguments as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from runtime.client.connection import Arrays, rows
from runtime.errors import InputError
from runtime.pipelines.question_answering import check_example
from runtime.pipelines.text_classification import text_and_pair
from runtime.pipelines.token_classification import check_text, check_words

Item = dict[str, str | bytes]  # the tensors of one item


def classified(item: Any, arguments: dict[str, Any]) -> Item:
    """A text, or two."""
    text, pair = text_and_pair(item)
    return {"text": check_string(text, "text-classification"), "text_pair": pair or ""}


def tagged(item: Any, arguments: dict[str, Any]) -> Item:
    """A text, or a list of words as JSON."""
    split = arguments.get("is_split_into_words")
    return {"text": json.dumps(check_words(item)) if split else check_text(item)}


def asked(item: Any, arguments: dict[str, Any]) -> Item:
    """A question and a context."""
    return dict(check_example(item))


def pictured(item: Any, arguments: dict[str, Any]) -> Item:
    """The pixels that the local pipeline would see, as PNG; arrays of pixels too, where the task takes them."""
    from PIL import Image

    from runtime.images import load_image
    from runtime.images.processor import as_rgb_pixels

    if hasattr(item, "__array__") and not isinstance(item, Image.Image):
        image = Image.fromarray(as_rgb_pixels(item))
    else:
        image = load_image(item, arguments.get("timeout"))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return {"image": file.getvalue()}


def texts_of(task: str) -> Callable[[Any, dict[str, Any]], Item]:
    """Items that are texts."""
    return lambda item, arguments: {"text": check_string(item, task)}


ITEMS: dict[str, Callable[[Any, dict[str, Any]], Item]] = {
    "text-classification": classified,
    "token-classification": tagged,
    "question-answering": asked,
    "image-classification": pictured,
    "object-detection": pictured,
    "image-to-text": pictured,
}


def make_item(item: Any, task: str, arguments: dict[str, Any]) -> Item:
    """The tensors of one item. Raises `InputError` for what the task cannot take."""
    return (ITEMS.get(task) or texts_of(task))(item, arguments)


def item_tensors(made: list[Item], arguments: dict[str, Any]) -> Arrays:
    """The tensors of several items and of the call's arguments."""
    tensors = {name: rows([one[name] for one in made]) for name in made[0]}
    if "text_pair" in tensors and not any(tensors["text_pair"][:, 0]):
        del tensors["text_pair"]
    sent = {name: value for name, value in arguments.items() if name != "timeout"}
    return tensors | ({"options": rows([to_json(sent)] * len(made))} if sent else {})


def to_json(arguments: Any) -> str:
    """Arguments as JSON; numpy values and enums as what they stand for. Raises `InputError`."""
    try:
        return json.dumps(arguments, default=plain)
    except (TypeError, ValueError) as error:
        raise InputError(f"an argument cannot be sent to a server: {error}") from error


def plain(value: Any) -> Any:
    """What JSON has for a value that is not its own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "value"):
        return value.value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def check_string(item: Any, task: str) -> str:
    """A text, or an `InputError`."""
    if not isinstance(item, str):
        raise InputError(f"{task} takes a text or a list of texts, not {type(item).__name__}")
    return item
