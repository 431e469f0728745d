"""`report.html`: one file without scripts or anything from elsewhere, in light and dark, for desks and phones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from exporter.precision import PRECISIONS
from exporter.report import plots
from exporter.report.side_by_side import side_by_side
from exporter.report.units import duration, figure, size

TEMPLATE = "report.html.jinja"
POINTS = {
    "inputs": "Does the runtime feed the model what Hugging Face feeds it?",
    "numerics": "Are the numbers the same?",
    "generation": "Are the same tokens generated?",
    "answers": "Does the pipeline say the same?",
    "accuracy": "Is it as good on your data?",
}


def render(report: Mapping[str, Any]) -> str:
    """The page for what `build_report` gave."""
    environment = Environment(
        loader=PackageLoader("exporter.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "figure": figure, "duration": duration, "words": words}
    return environment.get_template(TEMPLATE).render(**view(report)) + "\n"


def view(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows, in the order of the page."""
    manifest = report["manifest"]
    layers = report.get("layers", [])
    return {
        "manifest": manifest,
        "verdict": verdict(report["checks"], manifest["precision"]),
        "cards": cards(report),
        "groups": groups(report["checks"]),
        "accuracy": report["accuracy"],
        "siblings": side_by_side(report["siblings"], manifest["name"]) if "siblings" in report else {},
        "quantisation": quantisation(manifest["provenance"].get("quantisation")),
        "islands": manifest["provenance"].get("islands", {}),
        "histograms": {name: Markup(plots.error_histogram(counts)) for name, counts in report["errors"].items()},
        "layers": Markup(plots.layer_errors(layers)) if layers else "",
        "layers_of": report.get("layers_of", ""),
        "curves": {name: Markup(plots.agreement(curve)) for name, curve in report["agreement"].items()},
        "latency": report.get("latency", []),
        "problems": report.get("problems", {}),
        "machine": report["machine"],
        "busy": is_busy(report["machine"]),
        "maps": {name: precision_map(graph["operators"]) for name, graph in report["graphs"].items()},
        "graphs": report["graphs"],
        "weights": with_shares(report["weights"]),
        "sizes": report["sizes"],
        "seconds": with_shares(report["seconds"]),
        "total_seconds": sum(report["seconds"].values()),
    }


def verdict(checks: Sequence[Mapping[str, Any]], precision: str) -> dict[str, Any]:
    """One sentence on top: whether it passed, and what that means in this precision."""
    if not checks:
        return {"state": "unknown", "text": "Not validated: exported with --no-validate."}
    failed = [check for check in checks if not check["passed"]]
    if failed:
        return {"state": "bad", "text": f"{len(failed)} of {len(checks)} checks failed."}
    exact = precision not in PRECISIONS or PRECISIONS[precision].exact
    meaning = "Answers like its source model" if exact else f"As close to its source model as {precision} may be"
    return {"state": "good", "text": f"{meaning}: all {len(checks)} checks passed."}


def cards(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(title, figure, explanation) of what matters first; only what was measured."""
    checks = report["checks"]
    found = [("On disk", size(sum(report["sizes"].values())), "graphs and weights")]
    errors = [check["figures"]["error"] for check in checks if "error" in check["figures"]]
    if errors:
        found.append(("Largest error", f"{max(errors):.2g}", "of any output, as a share of the largest value"))
    top = [check["figures"]["top1"] for check in checks if "top1" in check["figures"]]
    if top:
        found.append(("Top-1 agreement", f"{min(top):.1%}", "positions with the source's best answer, worst check"))
    same = [check["figures"]["agreement"] for check in checks if "agreement" in check["figures"]]
    if same:
        found.append(("Same answers", f"{min(same):.0%}", "generated tokens or answers, worst check"))
    timed = [row for row in report.get("latency", []) if row["ratio"]]
    if timed and not is_busy(report["machine"]):
        found.append(("Speed", f"{timed[-1]['ratio']:.1f}×", f"the source in torch, {timed[-1]['workload']}"))
    return found


def is_busy(machine: Mapping[str, Any]) -> bool:
    """Whether others wanted the processor as well while times were taken: then the ratio is no headline."""
    return bool((machine["load"] or 0) > machine["threads"] + 0.5)


def groups(checks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """(point, the question it answers, its checks)."""
    there = {check["point"] for check in checks}
    points = [*(point for point in POINTS if point in there), *sorted(there - set(POINTS))]
    return [(point, POINTS.get(point, ""), [check for check in checks if check["point"] == point]) for point in points]


def precision_map(operators: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A table of operators by type: `types`, and `rows` of (operator, count by type, how full each cell is)."""
    types = list(dict.fromkeys(entry["type"] for entry in operators))
    names = dict.fromkeys(entry["op"] for entry in operators)
    counts = {(entry["op"], entry["type"]): entry["count"] for entry in operators}
    most = max(counts.values(), default=1)
    rows = []
    for name in sorted(names, key=lambda op: -sum(counts.get((op, kind), 0) for kind in types)):
        cells = [counts.get((name, kind), 0) for kind in types]
        rows.append((name, [(count, round(0.08 + 0.5 * (count / most) ** 0.5, 2) if count else 0) for count in cells]))
    return {"types": types, "rows": rows}


def quantisation(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """How the weights were quantised: scheme, notes, shares in per cent, and what was given more bits, and why.

    What was done to other kinds of weights (convolutions, experts) is noted too.
    """
    if not found:
        return {}
    others = [f"{name}: {text}" for name, text in found.items() if isinstance(text, str) and name != "scheme"]
    shares = {name: share for name, share in found.get("weights_percent", {}).items() if share}
    return {
        "scheme": found.get("scheme", ""),
        "notes": [*others, *found.get("notes", [])],
        "shares": with_shares(shares),
        "kept": list(found.get("kept", {}).items()),
    }


def with_shares(values: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """(name, value, per cent of the largest)."""
    most = max(values.values(), default=0) or 1
    return [(name, value, 100 * value / most) for name, value in values.items()]


def words(name: str) -> str:
    """`max_abs` -> `max abs`."""
    return name.replace("_", " ")
