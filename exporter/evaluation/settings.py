"""What the command line says about an evaluation. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InputError


@dataclass(frozen=True)
class EvaluationSettings:
    """What the command line says. data: None for no evaluation; max_drop: None for the precision's own budget."""

    data: Path | None = None
    columns: str | None = None
    limit: int | None = None
    max_drop: float | None = None

    def check(self) -> None:
        """Raise `InputError` for options that mean nothing without data."""
        given = {"--eval-columns": self.columns, "--eval-limit": self.limit, "--max-drop": self.max_drop}
        unused = [name for name, value in given.items() if value is not None]
        if self.data is None and unused:
            raise InputError(f"{unused[0]} means nothing without --eval-data FILE")
