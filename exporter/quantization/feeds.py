"""Inputs of a graph made from texts and images, by the names of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx_ir

from exporter.quantization.probe import Feeds

LENGTH = 128  # tokens of a text
TEXTS = (
    "The history of the river goes back a long way: people have fished, traded and fought along its banks since 800 "
    "BC, and the oldest bridge, finished in 1342, still carries carts, bicycles and tourists.",
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total / "
    "len(values)\n\n\nprint(mean([1, 2.5, 3]))\n",
    "I don't think it's a bad film, but the first hour was slow & the ending felt rushed... 3/5 stars!",
    "Mix the flour, two eggs and a pinch of salt; let it rest for 30 minutes. Then heat the oven to 180 °C.",
    "La réunion aura lieu mardi prochain à 14 h 30. Wir treffen uns danach im Café an der Ecke. ¿Vienes tú también?",
    "User: What is the capital of Australia?\nAssistant: Canberra. Sydney is larger, but it isn't the capital.",
)


def pictures(count: int = 4) -> list[Any]:
    """Images of smooth colours with sharp edges and grain, which photographs have too; the same in every run."""
    from PIL import Image

    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC), dtype=np.int16)
        patch = slice(*sorted(random.integers(0, 240, 2))), slice(*sorted(random.integers(0, 320, 2)))
        smooth[patch] = random.integers(0, 256, 3)
        grainy = smooth + random.normal(0, 8, smooth.shape)
        found.append(Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8)))
    return found


def image_rows(processor: Any, images: Iterable[Any]) -> list[Feeds]:
    """`pixel_values` `[1, 3, height, width]` (and `pixel_mask`) of each image."""
    return [
        {
            name: np.asarray(array)
            for name, array in processor(image, return_tensors="np").items()
            if name.startswith("pixel")
        }
        for image in images
    ]


def text_rows(tokenizer: Any, texts: Sequence[Any], limit: int) -> list[Feeds]:
    """One row `[1, n]` for each text (or pair of texts) that has tokens, cut off at `limit`."""
    rows = []
    for text in texts:
        encoded = tokenizer(*(text if isinstance(text, tuple) else (text,)), truncation=True, max_length=limit)
        if encoded["input_ids"]:
            rows.append({name: np.array([ids], dtype=np.int64) for name, ids in encoded.items()})
    return rows


def graph_feeds(model: onnx_ir.Model, rows: Sequence[Feeds]) -> list[Feeds] | None:
    """Feeds of a graph for rows that hold `input_ids` (and masks) or `pixel_values`; None: an input is not known."""
    feeds = []
    for row in rows:
        feed: Feeds = {}
        for value in model.graph.inputs:
            array = _array(value, row)
            if array is None:
                return None
            feed[str(value.name)] = array
        feeds.append(feed)
    return feeds or None


def _array(value: onnx_ir.Value, row: Feeds) -> np.ndarray | None:
    name = str(value.name)
    dtype = value.dtype.numpy() if value.dtype is not None else None
    if name in row:
        return row[name].astype(dtype)
    if "input_ids" not in row:
        return None
    if name.startswith("past_key_values."):
        return _empty_cache(value, row["input_ids"].shape)
    made = DECODER_INPUTS.get(name)
    return None if made is None else np.array(made(row["input_ids"].shape[1]), dtype=dtype)


# Inputs of a decoder at the start of one text of n tokens: see `exporter.tracing.decoder`.
DECODER_INPUTS: dict[str, Callable[[int], Any]] = {
    "position_ids": lambda n: [list(range(n))],
    "logits_positions": lambda n: [list(range(n))],  # the last layer's products learn from every token too
    "seqlens_k": lambda n: [n - 1],
    "total_sequence_length": lambda n: n,
}


def _empty_cache(value: onnx_ir.Value, shape: tuple[int, ...]) -> np.ndarray | None:
    """Zeros for a slot buffer `[batch, heads, max_length, head_dim]` that just holds the text."""
    dims = [dim if isinstance(dim, int) else str(dim.value) for dim in value.shape or ()]
    known = {"batch": 1, "max_length": shape[1]}
    if any(isinstance(dim, str) and dim not in known for dim in dims) or value.dtype is None:
        return None
    return np.zeros([dim if isinstance(dim, int) else known[dim] for dim in dims], dtype=value.dtype.numpy())
