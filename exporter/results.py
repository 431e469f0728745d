"""What became of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import OnwardError

if TYPE_CHECKING:
    from exporter.validation.checks import Check
    from runtime.bundle import Manifest


@dataclass(frozen=True)
class ExportResult:
    """What was written. checks: the validation, empty without; seconds: of each stage."""

    directory: Path
    manifest: Manifest
    checks: list[Check]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What became of one precision: a result, or the error that stopped it, which left nothing on disk."""

    precision: str
    result: ExportResult | None
    error: OnwardError | None = None
