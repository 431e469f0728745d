"""Puts the report together: `report.json` for programs, `report.html` for people, from the same figures."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.report.graph import describe_graphs
from exporter.report.html import render
from exporter.report.observe import SourceFacts, observe_bundle
from exporter.validation.checks import Check, as_json
from runtime.bundle import Bundle, Manifest, encode
from runtime.session import available_threads

JSON_FILE, HTML_FILE = "report.json", "report.html"


def write_reports(
    bundle: Path,
    manifest: Manifest,
    checks: Sequence[Check],
    seconds: Mapping[str, float],
    facts: SourceFacts | None,
    provider: str = "cpu",
) -> dict[str, Any]:
    """Write both files into a version directory and return what they say. facts: None without a validation."""
    observed = observe_bundle(facts, bundle, provider) if facts is not None else {}
    report = build_report(bundle, manifest, checks, seconds, observed)
    (bundle / JSON_FILE).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (bundle / HTML_FILE).write_text(render(report), encoding="utf-8")
    return report


def build_report(
    bundle: Path,
    manifest: Manifest,
    checks: Sequence[Check],
    seconds: Mapping[str, float],
    observed: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that is known. Times in seconds unless the name says otherwise, sizes in bytes."""
    return {
        "manifest": json.loads(encode(manifest)),
        "checks": as_json(checks),
        "seconds": dict(seconds),
        "sizes": {path.name: path.stat().st_size for path in sorted(bundle.glob("*.onnx*"))},
        **describe_graphs(Bundle(bundle, manifest)),
        "errors": error_distributions(checks, [name for name, _ in output_names(manifest)]),
        "agreement": {check.name: check.curve for check in checks if check.curve},
        "accuracy": accuracy_of(checks),
        "machine": machine(),
        **observed,
    }


def output_names(manifest: Manifest) -> list[tuple[str, str]]:
    """(output, graph) of all graphs, without what a model keeps for its next step."""
    return [
        (output.name, name)
        for name, graph in manifest.graphs.items()
        for output in graph.outputs
        if not output.name.startswith(("present", "cross"))
    ]


def error_distributions(checks: Sequence[Check], outputs: Sequence[str]) -> dict[str, list[int]]:
    """Counts by `ERROR_EXPONENTS` for each output: a check belongs to the output that its name begins with, or to the
    first."""
    found: dict[str, Counter[int]] = {}
    for check in checks:
        if check.errors:
            output = next((name for name in outputs if check.name.startswith(name)), (*outputs, "logits")[0])
            found.setdefault(output, Counter()).update(dict(enumerate(check.errors)))
    return {name: [counts[index] for index in sorted(counts)] for name, counts in found.items()}


def accuracy_of(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """The checks of point "accuracy" as records: metric, source, bundle, drop, and what was allowed."""
    return [
        {"metric": check.name, "passed": check.passed, "detail": check.detail, **check.figures}
        for check in checks
        if check.point == "accuracy"
    ]


def machine() -> dict[str, Any]:
    """Where the times were taken. load: of the last minute, in processes that wanted to run; None where unknown."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"system": platform.system(), "processor": processor(), "threads": available_threads(), "load": load}


def processor() -> str:
    """The CPU's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in lines_of(info) if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def lines_of(path: Path) -> list[str]:
    """A file's lines, none where there is no such file."""
    return path.read_text(errors="replace").splitlines() if path.is_file() else []
