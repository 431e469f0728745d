"""The export, in two halves: torch makes bundles from a checkpoint, the runtime validates them; then they are sealed
and put in their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exporter.apart import make_apart, worthwhile
from exporter.options import ExportOptions
from exporter.results import ExportResult, Outcome
from exporter.signals import raising_signals
from exporter.stages import Stages
from exporter.staging import Stagings

if TYPE_CHECKING:
    from exporter.making import OpenStaging, Work

__all__ = ["ExportOptions", "ExportResult", "Outcome", "run_export", "run_exports"]


def run_export(options: ExportOptions, stages: Stages | None = None) -> ExportResult:
    """Export a checkpoint to `output/name`. Raises `OnwardError`s; then nothing of it is left on disk."""
    [outcome] = run_exports(options, [options.precision], stages)
    if outcome.result is None:
        assert outcome.error is not None
        raise outcome.error
    return outcome.result


def run_exports(options: ExportOptions, precisions: Sequence[str], stages: Stages | None = None) -> list[Outcome]:
    """Export a checkpoint in several precisions, the source asked once: to `output/name-precision` each.

    One precision is named as it is. What can be refused before anything is loaded raises for all of them; an error of
    one precision later leaves the others alone.
    """
    stages = stages or Stages()
    with raising_signals(), Stagings(options) as stagings:
        make = make_apart if worthwhile() else make_here
        work = make(options, precisions, stages, stagings.open)
        from exporter.finishing import finish_all  # after the first half, while which it would take memory

        return finish_all(options, work, stages, stagings)


def make_here(options: ExportOptions, precisions: Sequence[str], stages: Stages, open_staging: OpenStaging) -> Work:
    """The first half in this process."""
    from exporter.making import make

    return make(options, precisions, stages, open_staging)
