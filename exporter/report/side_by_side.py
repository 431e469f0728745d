"""The table of precisions on the page: the source model, this bundle and its siblings, figure under figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.report.units import duration, figure, size

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """title: for people; value: of a row, None where it was not measured; show: as text. bars: worth drawing."""

    title: str
    value: Callable[[Row], float | None]
    show: Callable[[float], str]
    bars: bool = False


def side_by_side(siblings: Mapping[str, Any], own: str) -> dict[str, Any]:
    """`titles`, `rows` with a `cells` of (text, width of its bar in per cent or None), and `failed` precisions.

    own: the name of the bundle whose page it is.
    """
    rows = [{"name": "", "precision": "source", **siblings["source"]}, *siblings["rows"]]
    columns = [column for column in columns_of(rows) if any(column.value(row) is not None for row in rows)]
    lines = [
        {**row, "cells": [cell(column, row, rows) for column in columns], "here": row["name"] == own} for row in rows
    ]
    return {"titles": [column.title for column in columns], "rows": lines, "failed": siblings["failed"]}


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Size, the metrics on the user's data, speed, and how close the bundle is to its source."""
    metrics = dict.fromkeys(name for row in rows for name in row["accuracy"])
    works = dict.fromkeys(name for row in rows for name in row["latency"])
    return [
        Column("On disk", lambda row: row.get("bytes"), size, bars=True),
        *(Column(name, inner("accuracy", name), "{:.2f}".format) for name in metrics),
        *(Column(name, inner("latency", name), duration, bars=True) for name in works),
        Column("Largest error", lambda row: row.get("error"), figure),
        Column("Top-1", lambda row: row.get("top1"), "{:.1%}".format),
        Column("Same answers", lambda row: row.get("agreement"), "{:.0%}".format),
    ]


def inner(table: str, name: str) -> Callable[[Row], float | None]:
    """Reads a figure of a row's inner table."""
    return lambda row: row[table].get(name)


def cell(column: Column, row: Row, rows: Sequence[Row]) -> tuple[str, float | None]:
    """The text, and how long a bar is beside the longest of the column."""
    value = column.value(row)
    if value is None:
        return "", None
    most = max(column.value(other) or 0 for other in rows)
    return column.show(value), round(100 * max(value, 0) / most, 1) if column.bars and most > 0 else None
