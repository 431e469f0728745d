"""Exports of one checkpoint in many precisions, traced once; and the table of what each of them costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter.finishing import Finish
from exporter.held import Held
from exporter.job import Job
from exporter.loading import load_config
from exporter.making import attempt
from exporter.options import ExportOptions
from exporter.precision import PRECISIONS
from exporter.source import resolve_source
from exporter.stages import Stages
from exporter.staging import Stagings
from exporter.tasks import resolve_task
from tests.accuracy.metrics import Metric


class Lab:
    """`lab("int8")` is the path of an export of `checkpoint`, not validated. Further options are `ExportOptions`.

    The same is exported once: `lab.fresh` exports anew.
    """

    def __init__(self, checkpoint: Path, output: Path) -> None:
        self.options = ExportOptions(str(checkpoint), output=output, validate=False, force=True)
        self.source = resolve_source(str(checkpoint))
        self.row = resolve_task(None, load_config(self.source), self.source)
        self.held: Held | None = None
        self.exports = 0
        self.made: dict[str, Path] = {}

    def __call__(self, precision: str, **options: Any) -> Path:
        key = f"{precision} {options}"
        if key not in self.made:
            self.made[key] = self.fresh(precision, **options)
        return self.made[key]

    def fresh(self, precision: str, **options: Any) -> Path:
        """An export that nobody else gets."""
        self.exports += 1
        name = f"{precision}-{self.exports}"
        chosen = replace(self.options, **options)
        job = Job(chosen, self.source, self.row, PRECISIONS[precision], name, Stages())
        self.held = self.held or Held(job.load)
        with Stagings(chosen) as stagings:
            made = attempt(job, self.held, None, False, stagings.open)
            return Finish(chosen, precision, job.stages).run(made, None, stagings).directory


@dataclass(frozen=True)
class Row:
    """One line of the table. loss: of the metric against fp32, as the budget counts it; 0.01 is a point, or 1 %."""

    task: str
    precision: str
    metric: float
    loss: float
    budget: float

    @property
    def passed(self) -> bool:
        return self.loss <= self.budget + 1e-9


def show(rows: Sequence[Row]) -> str:
    """The table, for the message of a test that fails."""
    lines = [f"{'task':<24}{'precision':<12}{'metric':>10}{'loss':>10}{'budget':>10}"]
    for row in rows:
        mark = "" if row.passed else "   <-- over its budget"
        lines.append(f"{row.task:<24}{row.precision:<12}{row.metric:>10.4f}{row.loss:>10.4f}{row.budget:>10.4f}{mark}")
    return "\n".join(lines)


def compare(task: str, metric: Metric, bundles: dict[str, Path], budgets: dict[str, float]) -> list[Row]:
    """Rows for all bundles but fp32, against it."""
    reference = metric.of(bundles["fp32"])
    rows = []
    for precision, bundle in bundles.items():
        if precision != "fp32":
            found = metric.of(bundle)
            rows.append(Row(task, precision, found, metric.loss(reference, found), budgets[precision]))
    return rows
