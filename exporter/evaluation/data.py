"""Reads evaluation data: JSON lines, CSV, one plain text, or a directory that `datasets` wrote (`save_to_disk()`)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from runtime.errors import InputError

# Of a DatasetDict, the first of these that is there.
SPLITS = ("test", "validation", "eval", "dev")
Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows by column name. class_names: of columns (`objects.category` inside of others) that hold class numbers."""

    path: Path
    rows: list[Row]
    class_names: dict[str, list[str]] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Names in the order of the first row; of nested records also `record.field`."""
        nested = [
            (name, [f"{name}.{key}" for key in value] if isinstance(value, dict) else [])
            for name, value in self.rows[0].items()
        ]
        return [column for name, inner in nested for column in (name, *inner)]

    def value(self, index: int, column: str) -> Any:
        """A cell. Raises `InputError` that names the row where it is missing."""
        found: Any = self.rows[index]
        for key in (column,) if column in found else column.split("."):
            if not isinstance(found, dict) or found.get(key) is None:
                raise InputError(f"{self.path}, row {index + 1} has no {column!r}: every row needs it")
            found = found[key]
        return found


def read_table(path: Path, limit: int | None = None) -> Table:
    """The first `limit` rows, all by default. Raises `InputError` for what is missing, empty or no table."""
    if not path.exists():
        raise InputError(f"no evaluation data at {path}: no such file or directory")
    if path.is_dir():
        table = read_dataset(path, limit)
    elif path.suffix.lower() in READERS:
        table = Table(path, list(islice(READERS[path.suffix.lower()](path), limit)))
    else:
        known = ", ".join(READERS)
        raise InputError(f"{path}: evaluation data is {known}, or a directory that datasets saved, not {path.suffix!r}")
    if not table.rows:
        raise InputError(f"{path} has no rows: give evaluation data that has some")
    return table


def read_json_lines(path: Path) -> Iterator[Row]:
    """One object a line; empty lines are left out."""
    with open_text(path) as file:
        for number, line in enumerate(decoded_lines(file, path), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}, line {number} is not JSON ({error}): one object a line") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number} is a {type(row).__name__}: one object a line")
            yield row


def read_csv(path: Path, delimiter: str = ",") -> Iterator[Row]:
    """The first line names the columns; empty cells are missing ones."""
    with open_text(path) as file:
        for row in csv.DictReader(decoded_lines(file, path), delimiter=delimiter):
            yield {name: value for name, value in row.items() if name is not None and value not in (None, "")}


def open_text(path: Path) -> Any:
    """UTF-8, with or without a byte order mark; line ends as they are, for CSV."""
    return path.open(encoding="utf-8-sig", newline="")


def decoded_lines(file: Any, path: Path) -> Iterator[str]:
    """Lines; an `InputError` for bytes that are no UTF-8."""
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start})") from error


def read_text(path: Path) -> Iterator[Row]:
    """One row: the whole text, for language models."""
    with open_text(path) as file:
        text = "".join(decoded_lines(file, path))
    if text.strip():
        yield {"text": text}


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".csv": read_csv,
    ".tsv": lambda path: read_csv(path, "\t"),
    ".txt": read_text,
}


def read_dataset(path: Path, limit: int | None) -> Table:
    """A saved `Dataset`, or the test or validation split of a saved `DatasetDict`."""
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError as error:
        raise InputError(f"reading {path} needs datasets: pip install datasets, or give a .jsonl or .csv") from error
    try:
        loaded = load_from_disk(str(path))
    except Exception as error:  # datasets raises many kinds
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is no dataset that save_to_disk() wrote: {reason}") from error
    if isinstance(loaded, DatasetDict):
        split = next((name for name in SPLITS if name in loaded), None)
        if split is None:
            raise InputError(
                f"{path} has the splits {', '.join(loaded)}, none of {', '.join(SPLITS)}: give one of them"
            )
        loaded = loaded[split]
    count = len(loaded) if limit is None else min(limit, len(loaded))
    return Table(path, [loaded[index] for index in range(count)], dict(class_columns(loaded.features)))


def class_columns(features: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """(column, names) of every feature that is a ClassLabel, or a list of them."""
    for name, feature in features.items():
        inner = getattr(feature, "feature", feature)
        inner = inner[0] if isinstance(inner, list) and inner else inner
        if hasattr(inner, "names"):
            yield prefix + name, list(inner.names)
        elif isinstance(inner, dict):
            yield from class_columns(inner, f"{prefix}{name}.")
