"""Compares what pipelines answer: nesting, keys and their order, texts and numbers that count exact, floats within a
tolerance."""

from __future__ import annotations

from typing import Any

from exporter.precision import Precision
from exporter.validation.checks import Check

TOLERANCE = 1e-4  # of scores, in float32
LOOSE_TOLERANCE = 5e-2  # in lower precisions


def compare_answers(name: str, pairs: list[tuple[Any, Any, Any]], precision: Precision) -> Check:
    """`pairs`: (question, the source's answer, the bundle's). Exact precisions must give them all the same; others must
    agree on the share that their budget names."""
    tolerance = TOLERANCE if precision.exact else LOOSE_TOLERANCE
    differences = [answer_difference(expected, found, tolerance) for _, expected, found in pairs]
    wrong = [
        f"for {str(question)[:40]!r}: {str(found)[:160]} instead of {str(expected)[:160]}"
        for (question, expected, found), difference in zip(pairs, differences, strict=True)
        if not difference <= tolerance
    ]
    agreement = 1 - len(wrong) / max(len(pairs), 1)
    passed = not wrong if precision.exact else agreement >= precision.agreement
    figures = {"agreement": agreement, "score_error": max((d for d in differences if d != float("inf")), default=0.0)}
    return Check("answers", name, passed, figures, "; ".join(wrong[:1]))


def answer_difference(expected: Any, found: Any, tolerance: float) -> float:
    """Largest difference between floats; infinite where anything else differs.

    In a ranking, neighbours whose scores are the same but for rounding may have changed places, the last of them with
    one that did not make it.
    """
    if isinstance(expected, dict):
        same_keys = isinstance(found, dict) and list(expected) == list(found)
        return largest((expected[k], found[k]) for k in expected) if same_keys else float("inf")
    if isinstance(expected, (list, tuple)):
        if not isinstance(found, (list, tuple)) or len(expected) != len(found):
            return float("inf")
        difference = largest(zip(expected, found, strict=True))
        return ranking_difference(expected, found, tolerance) if is_ranking(expected, found, difference) else difference
    if isinstance(expected, float) or hasattr(expected, "dtype"):
        return abs(float(expected) - float(found)) if hasattr(found, "__float__") else float("inf")
    return 0.0 if expected == found else float("inf")


def largest(pairs: Any) -> float:
    """The largest difference of some pairs."""
    return max((answer_difference(a, b, 0.0) for a, b in pairs), default=0.0)


def is_ranking(expected: Any, found: Any, difference: float) -> bool:
    """Whether lists that differ hold scored records, best first."""
    if difference != float("inf") or not all(isinstance(r, dict) and "score" in r for r in (*expected, *found)):
        return False
    scores = [record["score"] for record in expected]
    return len(scores) > 1 and scores == sorted(scores, reverse=True)


def ranking_difference(expected: Any, found: Any, tolerance: float) -> float:
    """The difference of two rankings with records matched by everything but their scores."""
    scores = {identity(record): float(record["score"]) for record in found}
    last = float(expected[-1]["score"])
    differences = [abs(float(record["score"]) - scores.get(identity(record), last)) for record in expected]
    unknown = [record for record in expected if identity(record) not in scores]
    close = all(float(record["score"]) - last <= tolerance for record in unknown)
    return max(differences) if close else float("inf")


def identity(record: dict[str, Any]) -> tuple[Any, ...]:
    """What a record says, without its score."""
    return tuple((key, str(value)) for key, value in record.items() if key != "score")
