"""Inputs of graphs made from calibration data, or from built-in texts and pictures where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx_ir

from exporter.loading import Checkpoint
from exporter.quantization.feeds import LENGTH, TEXTS, graph_feeds, image_rows, pictures, text_rows
from exporter.quantization.probe import Feeds
from exporter.quantization.samples import Samples
from runtime.errors import ExportError


def calibration_feeds(
    checkpoint: Checkpoint, models: Mapping[str, onnx_ir.Model], samples: Samples | None
) -> dict[str, list[Feeds]]:
    """Feeds by graph, of those graphs whose inputs are known; made of built-in texts or pictures without `samples`.

    Raises `ExportError` for samples that fit no graph.
    """
    if samples is not None and samples.arrays:
        return {name: _array_feeds(model, samples) for name, model in models.items()}
    rows = _rows(checkpoint, samples)
    feeds = {name: graph_feeds(model, rows) for name, model in models.items()}
    return {name: found for name, found in feeds.items() if found}


def _rows(checkpoint: Checkpoint, samples: Samples | None) -> list[Feeds]:
    reads_images = checkpoint.processor is not None
    if samples is None:
        return image_rows(checkpoint.processor, pictures()) if reads_images else _text_rows(checkpoint, TEXTS)
    if reads_images != bool(samples.images):
        wanted = "a directory of images" if reads_images else "texts (.jsonl, .csv, .txt)"
        raise ExportError(f"{checkpoint.row.name} is calibrated with {wanted} or .npz, {samples.path} holds none")
    return (
        image_rows(checkpoint.processor, _open(samples.images))
        if reads_images
        else _text_rows(checkpoint, samples.texts)
    )


def _text_rows(checkpoint: Checkpoint, texts: Any) -> list[Feeds]:
    longest = getattr(checkpoint.model.config.get_text_config(), "max_position_embeddings", None) or LENGTH
    return text_rows(checkpoint.tokenizer, texts, min(LENGTH, longest, checkpoint.tokenizer.model_max_length))


def _open(paths: list[Path]) -> Iterator[Any]:
    from PIL import Image

    for path in paths:
        try:
            with Image.open(path) as image:
                yield image.convert("RGB")
        except OSError as error:
            raise ExportError(f"calibration image {path} cannot be read: {error}") from error


def _array_feeds(model: onnx_ir.Model, samples: Samples) -> list[Feeds]:
    """One feed for each example, checked against the graph's inputs."""
    for value in model.graph.inputs:
        _check_array(value, samples)
    names = [str(value.name) for value in model.graph.inputs]
    count = len(samples.arrays[names[0]])
    return [{name: samples.arrays[name][index : index + 1] for name in names} for index in range(count)]


def _check_array(value: onnx_ir.Value, samples: Samples) -> None:
    name = str(value.name)
    assert value.shape is not None and value.dtype is not None
    if name not in samples.arrays:
        raise ExportError(
            f"calibration data {samples.path} lacks the input {name!r}: it has {', '.join(samples.arrays)}"
        )
    wanted = [dim if isinstance(dim, int) else str(dim.value) for dim in value.shape]
    found = samples.arrays[name]
    fits = found.ndim == len(wanted) and all(
        size == dim for size, dim in list(zip(found.shape, wanted, strict=True))[1:] if isinstance(dim, int)
    )
    if not fits or found.dtype != value.dtype.numpy():
        kind = f"{value.dtype.numpy()}[{', '.join(map(str, wanted))}]"
        raise ExportError(f"calibration data {samples.path}: {name!r} is {found.dtype}{list(found.shape)}, not {kind}")
