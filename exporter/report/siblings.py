"""Bundles of one checkpoint in several precisions, side by side in the report of each: sizes, accuracy, latency."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.report.build import HTML_FILE, JSON_FILE
from exporter.report.html import render
from exporter.results import Outcome
from exporter.sealing import replace_manifest
from runtime.bundle import MANIFEST_FILE, encode, open_bundle, sha256


def compare(outcomes: Sequence[Outcome]) -> None:
    """Write `siblings` into the reports of what was exported together, and seal the bundles again.

    `source` and `rows` hold figures, `failed` the precisions that came to nothing, with their reasons.
    """
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    failed = {outcome.precision: str(outcome.error) for outcome in outcomes if outcome.result is None}
    if results:
        write_siblings([result.directory / str(result.manifest.version) for result in results], failed)


def write_siblings(bundles: Sequence[Path], failed: Mapping[str, str]) -> None:
    """Into the reports of version directories."""
    reports = [json.loads((bundle / JSON_FILE).read_text(encoding="utf-8")) for bundle in bundles]
    rows = [row_of(report) for report in reports]
    siblings = {"source": source_row(reports[0]), "rows": rows, "failed": failed}
    for bundle, report in zip(bundles, reports, strict=True):
        report["siblings"] = siblings
        write(bundle / JSON_FILE, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        write(bundle / HTML_FILE, render(report))
        seal_again(bundle)


def seal_again(bundle: Path) -> None:
    """The hashes of the reports alone: weights can be many gigabytes, and nobody has touched them."""
    manifest = open_bundle(bundle, verify=False).manifest
    fresh = {name: sha256(bundle / name) for name in (JSON_FILE, HTML_FILE)}
    sealed = replace_manifest(manifest, files=manifest.files | fresh)
    write(bundle / MANIFEST_FILE, encode(sealed).decode())


def row_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What one report says in short. bytes: of graphs and weights; latency: milliseconds by workload."""
    figures = [check["figures"] for check in report["checks"]]
    manifest = report["manifest"]
    return {
        "name": manifest["name"],
        "version": manifest["version"],
        "precision": manifest["precision"],
        "bytes": sum(report["sizes"].values()),
        "error": max((one["error"] for one in figures if "error" in one), default=None),
        "top1": min((one["top1"] for one in figures if "top1" in one), default=None),
        "agreement": min((one["agreement"] for one in figures if "agreement" in one), default=None),
        "accuracy": {row["metric"]: row["bundle"] for row in report["accuracy"]},
        "latency": {row["workload"]: row["bundle_ms"] for row in report.get("latency", [])},
    }


def source_row(report: Mapping[str, Any]) -> dict[str, Any]:
    """The source model in fp32, as far as it was measured."""
    return {
        "accuracy": {row["metric"]: row["source"] for row in report["accuracy"]},
        "latency": {row["workload"]: row["source_ms"] for row in report.get("latency", [])},
    }


def write(path: Path, content: str) -> None:
    """In one step: a reader sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(content, encoding="utf-8")
    draft.replace(path)
