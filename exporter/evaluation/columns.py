"""Which column of the data is what: as the user says, or guessed by the names that data sets usually have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.evaluation.data import Table
from runtime.errors import InputError


@dataclass(frozen=True)
class Role:
    """What a task reads from a row. guesses: usual names of such columns, the likeliest first."""

    name: str
    guesses: tuple[str, ...] = ()
    optional: bool = False


def parse_columns(text: str | None) -> dict[str, str]:
    """`text=sentence,label=gold` -> `{"text": "sentence", "label": "gold"}`."""
    pairs = [part.strip() for part in (text or "").split(",") if part.strip()]
    found = {}
    for pair in pairs:
        role, equals, column = (part.strip() for part in pair.partition("="))
        if not (role and equals and column):
            raise InputError(f"--eval-columns takes role=column pairs such as text=sentence,label=gold, not {pair!r}")
        found[role] = column
    return found


def resolve_columns(table: Table, task: str, roles: Sequence[Role], given: Mapping[str, str]) -> dict[str, str]:
    """The column of each role; optional ones only where they are there. Raises `InputError` that names the columns."""
    known = [role.name for role in roles]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InputError(f"--eval-columns: {task} has no {unknown[0]!r}, it reads {', '.join(known)}")
    columns = table.columns
    for name, column in given.items():
        if column not in columns:
            raise InputError(f"{table.path} has no column {column!r} for the {name}: it has {', '.join(columns)}")
    found = dict(given)
    for role in roles:
        free = [name for name in (role.name, *role.guesses) if name in columns and name not in found.values()]
        if role.name not in found and free:
            found[role.name] = free[0]
        if role.name not in found and not role.optional:
            raise InputError(
                f"{table.path} has no column that looks like the {role.name} for {task}, it has {', '.join(columns)}: "
                f"pass --eval-columns {role.name}=COLUMN, or give data for {task}"
            )
    return found
