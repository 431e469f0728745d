"""What validation says: checks with figures, and whether they passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from exporter.precision import Precision
from runtime.errors import ValidationError

BLOCK = 2**19  # numbers compared at a time: float64, several times over, they are 4 MB each
# Upper edges of the classes that errors are counted in, as powers of ten; the last class is open.
ERROR_EXPONENTS = tuple(exponent / 2 for exponent in range(-18, 2))


@dataclass(frozen=True)
class Check:
    """One comparison. point: "inputs", "numerics", "generation", "answers" or "accuracy"; detail: the first difference.

    errors: how often each size of error occurred, see `error_counts`; curve: at index n, the share of texts whose first
    n + 1 generated tokens are all the source's. Both for the report, empty where they mean nothing.
    """

    point: str
    name: str
    passed: bool
    figures: dict[str, float] = field(default_factory=dict)
    detail: str = ""
    errors: list[int] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)


def compare_logits(name: str, expected: np.ndarray, found: np.ndarray, precision: Precision) -> Check:
    """Compare logits `[rows, classes]` against the budgets of a precision."""
    figures = logit_figures(expected, found)
    failed = [
        text
        for bad, text in (
            (not figures["error"] <= precision.error, f"error {figures['error']:.1e} is over {precision.error:.0e}"),
            (figures["top1"] < precision.top1, f"top-1 agreement {figures['top1']:.2%} is under {precision.top1:.0%}"),
            (
                not figures["divergence"] <= precision.divergence,
                f"divergence {figures['divergence']:.1e} is over {precision.divergence:.0e}",
            ),
        )
        if bad
    ]
    return Check("numerics", name, not failed, figures, "; ".join(failed), error_counts(expected, found))


def error_counts(expected: np.ndarray, found: np.ndarray) -> list[int]:
    """How many elements differ by how much, as a share of the largest: one count for each of `ERROR_EXPONENTS`.

    The first holds everything up to its own size (zero too), the last everything above, NaN too.
    """
    scale = max(largest_of(expected), 1.0)
    counts = np.zeros(len(ERROR_EXPONENTS), np.int64)
    for one, other in blocks(expected, found):
        shares = np.abs(other.astype(np.float64) - one) / scale
        places = np.searchsorted(10.0 ** np.array(ERROR_EXPONENTS[:-1]), shares.reshape(-1))
        counts += np.bincount(places, minlength=len(counts))
    return [int(count) for count in counts]


def logit_figures(expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """max_abs, error (relative to the largest logit), top1, divergence (KL in nats, mean over rows).

    In blocks of rows: a whole context of a large vocabulary, several times over in float64, is too much at once.
    """
    cuts = blocks(expected, found)
    largest = np.array([np.abs(b - a).max() for a, b in cuts])  # keeps NaN, as max() would not
    max_abs = float(largest.max())
    scale = max(largest_of(expected), 1.0)
    agreeing = sum(agreements(a.astype(np.float64), b.astype(np.float64), max_abs) for a, b in cuts)
    diverging = sum(divergences(a.astype(np.float64), b.astype(np.float64)) for a, b in cuts)
    rows = len(expected)
    return {"max_abs": max_abs, "error": max_abs / scale, "top1": agreeing / rows, "divergence": diverging / rows}


def largest_of(array: np.ndarray) -> float:
    """Largest magnitude, 0 of nothing; without a copy of the array."""
    return max(float(array.max(initial=0.0)), -float(array.min(initial=0.0)))


def blocks(expected: np.ndarray, found: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views on neighbouring rows of both, as many at a time as `BLOCK` allows."""
    rows = max(1, BLOCK // max(1, expected[0].size)) if len(expected) else 1
    cuts = range(0, len(expected), rows)
    return [(expected[cut : cut + rows], found[cut : cut + rows]) for cut in cuts]


def agreements(expected: np.ndarray, found: np.ndarray, max_abs: float) -> int:
    """Rows whose best is the same; those whose two best are closer than the error itself say nothing and count too."""
    best = np.sort(expected, axis=-1)[:, -2:]
    clear = best[:, -1] - best[:, 0] > 2 * max_abs if expected.shape[-1] > 1 else np.ones(len(expected), bool)
    return int(((expected.argmax(-1) == found.argmax(-1)) | ~clear).sum())


def divergences(expected: np.ndarray, found: np.ndarray) -> float:
    """Kullback-Leibler divergence in nats, summed over rows."""
    p, q = log_softmax(expected), log_softmax(found)
    return float((np.exp(p) * (p - q)).sum())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis, in the dtype given."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normalised: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def summary(checks: Sequence[Check]) -> dict[str, Any]:
    """For the manifest: whether all passed, how many, the worst figures, and the accuracy by metric."""
    worst: dict[str, float] = {}
    accuracy = {check.name: check.figures for check in checks if check.point == "accuracy"}
    for check in checks:
        for name, value in check.figures.items() if check.point != "accuracy" else ():
            pick = min if name in ("top1", "agreement") else max
            worst[name] = pick(worst.get(name, value), value)
    measured = {"accuracy": accuracy} if accuracy else {}
    return {"passed": all(check.passed for check in checks), "checks": len(checks), **worst, **measured}


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """For report.json."""
    return [asdict(check) for check in checks]


class FailedValidationError(ValidationError):
    """Carries the checks, for the table that the command prints. advice: what to try instead."""

    def __init__(self, checks: Sequence[Check], advice: str = "") -> None:
        failed = [check for check in checks if not check.passed]
        first = f"{failed[0].point}, {failed[0].name}: {failed[0].detail}"
        said = f"the export does not reproduce the model, {len(failed)} of {len(checks)} checks failed: {first}"
        super().__init__(f"{said}; {advice}" if advice else said)
        self.checks = list(checks)
