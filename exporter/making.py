"""The first half of an export, which needs torch: find, load, ask the source, then trace and write each precision."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.held import Held
from exporter.job import Job
from exporter.loading import load_config
from exporter.options import ExportOptions, check_options
from exporter.output import check_target, is_full
from exporter.precision import Precision
from exporter.source import resolve_source
from exporter.stages import Stages
from exporter.tasks import TaskRow, resolve_task
from exporter.validation.checks import Check
from runtime.bundle import Manifest
from runtime.errors import ExportError, OnwardError

if TYPE_CHECKING:
    from exporter.evaluation.run import Evaluation
    from exporter.validation.run import Expectation

OpenStaging = Callable[[str, int], Path]  # name, bytes needed -> a directory to write into


@dataclass(frozen=True)
class Made:
    """One precision: a bundle in `staging`, not validated yet, or the error that stopped it.

    checks: of what the runtime feeds to the graph; seconds: of each stage so far.
    """

    name: str
    precision: str
    seconds: dict[str, float]
    staging: Path | None = None
    manifest: Manifest | None = None
    checks: tuple[Check, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True)
class Work:
    """All precisions in the order they were asked for, and what their validation expects; None without one."""

    made: list[Made]
    expected: Expectation | None


def make(options: ExportOptions, precisions: Sequence[str], stages: Stages, open_staging: OpenStaging) -> Work:
    """Write everything but reports and hashes. What can be refused before anything is loaded raises for all."""
    wanted = check_options(options, precisions)
    with stages("find"):
        jobs = find(options, wanted, stages)
    held, expected = Held(jobs[0].load), None
    if options.validate:
        expected = jobs[0].ask_source(held.checkpoint("float32"))
    # Those that are traced in float32 first: they share the checkpoint that the source is asked with.
    order = sorted(jobs, key=lambda job: (job.dtype != "float32", job.dtype))
    made = {}
    for index, job in enumerate(order):
        last = job.dtype not in [other.dtype for other in order[index + 1 :]]
        part = job if len(jobs) == 1 else replace(job, stages=stages.under(f"{job.precision.name}: "))
        made[job.name] = attempt(part, held, expected, last, open_staging)
    # The second half compares no inputs, and tokenizers may be of classes that only a checkpoint brings.
    rest = None if expected is None else replace(expected, tokenizer=None, processor=None)
    return Work([made[job.name] for job in jobs], rest)


def find(options: ExportOptions, wanted: Sequence[Precision], stages: Stages) -> list[Job]:
    """One precision is named as it is, several are `name-precision`."""
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
    return [
        Job(options, source, row, precision, name, stages, evaluation)
        for precision, name in zip(wanted, names, strict=True)
    ]


def read_evaluation(options: ExportOptions, row: TaskRow, config: Any) -> Evaluation | None:
    """The evaluation data, refused before anything is loaded where it does not fit."""
    if options.evaluation.data is None:
        return None
    from exporter.evaluation.run import prepare

    return prepare(options.evaluation, row.name, config)


def attempt(job: Job, held: Held, expected: Any, last: bool, open_staging: OpenStaging) -> Made:
    """One precision. An error that is for the user leaves the other precisions alone."""
    made = Made(job.name, job.precision.name, job.stages.seconds)
    try:
        staging, manifest = job.write(held, last, open_staging)
        checks = job.compare_inputs(expected, staging) if expected else []
    except OnwardError as error:
        return replace(made, error=error)
    except Exception as error:
        if not is_full(error):
            raise
        # What it was wrapped in may not travel to another process.
        return replace(made, error=OSError(errno.ENOSPC, str(error)))
    return replace(made, staging=staging, manifest=manifest, checks=tuple(checks))
