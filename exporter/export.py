"""The export: find, load, ask the source, then a job for each precision, which puts its bundle in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exporter.held import Held
from exporter.job import Job
from exporter.loading import load_config
from exporter.options import ExportOptions, check_options
from exporter.output import check_target
from exporter.results import ExportResult, Outcome
from exporter.source import resolve_source
from exporter.stages import Stages
from exporter.tasks import TaskRow, resolve_task
from runtime.errors import ExportError, OnwardError

if TYPE_CHECKING:
    from exporter.evaluation.run import Evaluation

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
    wanted = check_options(options, precisions)
    with stages("find"):
        source = resolve_source(options.source, options.revision, options.token)
        base = options.name or source.name
        names = [base] if len(wanted) == 1 else [f"{base}-{precision.name}" for precision in wanted]
        for name in names:
            check_target(options.output, name, options.version, options.force)
        config = load_config(source, options.trust_remote_code, options.token)
        row = resolve_task(options.task, config, source)
        if options.max_length is not None and row.kind in ("encoder", "vision"):
            raise ExportError(f"--max-length is the context of a text generator, {row.name} has none: leave it out")
        evaluation = read_evaluation(options, row, config)
    jobs = [
        Job(options, source, row, precision, name, stages, evaluation)
        for precision, name in zip(wanted, names, strict=True)
    ]
    return run_jobs(jobs, stages)


def read_evaluation(options: ExportOptions, row: TaskRow, config: Any) -> Evaluation | None:
    """The evaluation data, refused before anything is loaded where it does not fit."""
    if options.evaluation.data is None:
        return None
    from exporter.evaluation.run import prepare

    return prepare(options.evaluation, row.name, config)


def run_jobs(jobs: Sequence[Job], stages: Stages) -> list[Outcome]:
    """Those that are traced in float32 first: they share the checkpoint that the source is asked with."""
    from exporter.report.siblings import compare

    held, expected = Held(jobs[0].load), None
    if jobs[0].options.validate:
        expected = jobs[0].ask_source(held.checkpoint("float32"))
    order = sorted(jobs, key=lambda job: (job.dtype != "float32", job.dtype))
    outcomes = {}
    for index, job in enumerate(order):
        last = job.dtype not in [other.dtype for other in order[index + 1 :]]
        part = job if len(jobs) == 1 else replace(job, stages=stages.under(f"{job.precision.name}: "))
        try:
            outcomes[job.name] = Outcome(job.precision.name, part.run(held, expected, last))
        except OnwardError as error:
            outcomes[job.name] = Outcome(job.precision.name, None, error)
    found = [outcomes[job.name] for job in jobs]
    if len(found) > 1:
        compare(found)
    return found
