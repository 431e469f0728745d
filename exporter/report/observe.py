"""What the report says beyond the validation: layers and latency. Observed, never judged: it fails no export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.loading import Checkpoint
from exporter.quiet import quiet
from exporter.report.latency import Timing, latency_table, measure
from exporter.report.layers import LayerReference, compare_layers, record_layers
from exporter.report.workloads import Workload, bundle_call, source_call, workloads
from runtime.pipelines import pipeline
from runtime.session import close_sessions


@dataclass(frozen=True)
class SourceFacts:
    """What was seen of the source while it was loaded. problems: what could not be, by section of the report."""

    task: str
    works: list[Workload]
    timings: list[Timing]
    layers: LayerReference | None
    problems: dict[str, str]


def observe_source(checkpoint: Checkpoint) -> SourceFacts:
    """Time the source and keep what its layers say. A model that refuses is reported, it does not end the export."""
    import torch

    problems: dict[str, str] = {}
    works: list[Workload] = []
    timings: list[Timing] = []
    layers = None
    with quiet(), torch.no_grad():
        try:
            works = workloads(checkpoint)
            timings = [measure(source_call(checkpoint, work), work) for work in works]
        except Exception as error:
            problems["latency"] = f"the source model could not be timed: {one_line(error)}"
        try:
            layers = record_layers(checkpoint, works)
        except Exception as error:
            problems["layers"] = f"the source model's layers could not be read: {one_line(error)}"
    return SourceFacts(checkpoint.row.name, works, timings, layers, problems)


def observe_bundle(facts: SourceFacts, bundle: Path, provider: str = "cpu") -> dict[str, Any]:
    """The report's `latency` and `layers`, each with its reason in `problems` where it is empty."""
    pipe: Any = pipeline(facts.task, bundle, provider=provider, verify=False)
    problems = dict(facts.problems)
    found: dict[str, Any] = {"latency": [], "layers": [], "layers_of": facts.layers.what if facts.layers else ""}
    try:
        if facts.timings:
            found["latency"] = observed(problems, "latency", lambda: time_bundle(facts, pipe))
        if facts.layers is not None:
            reference = facts.layers
            found["layers"] = observed(problems, "layers", lambda: compare_layers(reference, pipe, bundle))
    finally:
        pipe.close()
        close_sessions()
    if not found["layers"]:
        problems.setdefault("layers", "this path keeps values of its own: no layer has a counterpart in the source")
    return {**found, "problems": problems}


def time_bundle(facts: SourceFacts, pipe: Any) -> list[dict[str, Any]]:
    """Both sides of every workload."""
    ours = [measure(bundle_call(pipe, work), work) for work in facts.works]
    return latency_table(facts.works, facts.timings, ours)


def observed(problems: dict[str, str], section: str, look: Any) -> list[dict[str, Any]]:
    """What `look` finds; a failure is noted."""
    try:
        found: list[dict[str, Any]] = look()
    except Exception as error:
        problems[section] = one_line(error)
        return []
    return found


def one_line(error: Exception) -> str:
    """An exception for the report."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
