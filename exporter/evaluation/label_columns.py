"""Data with a column of 0 and 1 for each label, as sets of several labels a text are often laid out.

They become one column of lists, `label`, so that all that follows knows one layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exporter.evaluation.base import LABEL
from exporter.evaluation.data import Table
from runtime.errors import InputError

VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def join_label_columns(table: Table, config: Any, given: Mapping[str, str]) -> tuple[Table, dict[str, str]]:
    """The table with a column `label`, and the columns that are still to be resolved.

    given: roles and, for columns that are called otherwise than the model's labels, `label=column`. Both come back
    unchanged unless the model gives several labels and the data has columns of theirs. Raises `InputError` for labels
    without a column and for cells that are neither 0 nor 1.
    """
    if config.problem_type != "multi_label_classification":
        return table, dict(given)
    labels = [str(config.id2label[number]) for number in range(config.num_labels)]
    named = {label: given[label] for label in labels if label in given and label not in ("text", "text_pair")}
    rest = {role: column for role, column in given.items() if role not in named}
    found = named | {label: column for label, column in guessed(table, labels).items() if label not in named}
    if not named and (not found or "label" in rest or _has_label_column(table, found)):
        return table, dict(given)
    _check(table, labels, found)
    rows = [
        {**row, "label": [hot(table, index, found[label]) for label in labels]} for index, row in enumerate(table.rows)
    ]
    return replace(table, rows=rows), rest | {"label": "label"}


def guessed(table: Table, labels: list[str]) -> dict[str, str]:
    """Label -> the column that has its name, however it is spelt."""
    columns = {_plain(column): column for column in reversed(table.columns)}
    return {label: columns[_plain(label)] for label in labels if _plain(label) in columns}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


def _has_label_column(table: Table, found: Mapping[str, str]) -> bool:
    """Whether one column holds the labels, by its name."""
    names = {LABEL.name, *LABEL.guesses} - set(found.values())
    return any(column in names for column in table.columns)


def _check(table: Table, labels: list[str], found: Mapping[str, str]) -> None:
    shown = ", ".join(table.columns)
    for label, column in found.items():
        if column not in table.columns:
            raise InputError(f"{table.path} has no column {column!r} for the label {label!r}: it has {shown}")
    missing = next((label for label in labels if label not in found), None)
    if missing is not None:
        raise InputError(
            f"{table.path} has columns of some of the model's labels ({', '.join(found)}), none for {missing!r}: "
            f"pass --eval-columns {missing}=COLUMN, or give data with all of them"
        )


def hot(table: Table, index: int, column: str) -> int:
    """A cell, 0 or 1."""
    value = table.value(index, column)
    found = VALUES.get(str(value).strip().casefold())
    if found is None:
        raise InputError(f"{table.path}, row {index + 1}: {column!r} is {value!r}: columns of labels hold 0 or 1")
    return found
