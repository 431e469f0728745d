"""Reads calibration data: inputs like those that the model will see, in the form that people have them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import ExportError

SAMPLES = 256  # more say nothing new
# Columns of texts, and of a second text beside the first; the first that is there counts.
TEXT_COLUMNS = ("text", "sentence", "content", "document", "question", "sentence1", "premise")
SECOND_COLUMNS = ("context", "sentence2", "hypothesis")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
KNOWN = ".jsonl, .csv, .tsv, .txt (a text a line), .npz (an array for each input), or a directory of images"


@dataclass(frozen=True)
class Samples:
    """What a file held: texts (or pairs), images, or arrays `[samples, ...]` by input name. One of the three."""

    path: Path
    texts: list[Any] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def read_samples(path: Path) -> Samples:
    """Read a file or directory. Raises `ExportError` for what is missing, empty or of no known form."""
    if not path.exists():
        raise ExportError(f"no calibration data at {path}: no such file or directory")
    if path.is_dir():
        samples = Samples(path, images=sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES)[:SAMPLES])
    elif path.suffix.lower() == ".npz":
        samples = Samples(path, arrays=_arrays(path))
    else:
        samples = Samples(path, texts=[text for text, _ in zip(_texts(path), range(SAMPLES), strict=False)])
    if not (samples.texts or samples.images or samples.arrays):
        raise ExportError(f"calibration data {path} is empty: give some dozens of examples")
    return samples


def _texts(path: Path) -> Iterator[Any]:
    suffix = path.suffix.lower()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if suffix == ".txt":
                yield from (line.strip() for line in file if line.strip())
            elif suffix in (".jsonl", ".ndjson"):
                yield from (_text_of(json.loads(line), path) for line in file if line.strip())
            elif suffix in (".csv", ".tsv"):
                rows = csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
                yield from (_text_of(row, path) for row in rows)
            else:
                raise ExportError(f"{path}: calibration data is {KNOWN}")
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are
        raise ExportError(f"calibration data {path} cannot be read: {error}") from error


def _text_of(row: Any, path: Path) -> Any:
    """A text, or a pair."""
    if isinstance(row, str):
        return row
    columns = row if isinstance(row, dict) else {}
    first = next((columns[name] for name in TEXT_COLUMNS if isinstance(columns.get(name), str)), None)
    if first is None:
        raise ExportError(f"calibration data {path} has no column of texts: call it {' or '.join(TEXT_COLUMNS[:3])}")
    second = next((columns[name] for name in SECOND_COLUMNS if isinstance(columns.get(name), str)), None)
    return first if second is None else (first, second)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError) as error:
        raise ExportError(f"calibration data {path} cannot be read: {error}") from error
    if any(array.ndim == 0 or len(array) == 0 for array in arrays.values()):
        raise ExportError(
            f"calibration data {path} has empty arrays: give some dozens of examples, the first dimension"
        )
    if len({len(array) for array in arrays.values()}) > 1:
        raise ExportError(f"calibration data {path} has arrays of different lengths: one row for each example")
    return {name: array[:SAMPLES] for name, array in arrays.items()}
