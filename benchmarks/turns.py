"""Sides that take turns: what disturbs the machine disturbs all of them. Quoted are ratios within a round."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

Figures = dict[str, float]


@dataclass
class Side:
    """One competitor: `measure` runs it once in a fresh process; `missing` says why it could not be measured."""

    name: str
    measure: Callable[[], Figures]
    rounds: list[Figures] = field(default_factory=list)
    missing: str = ""


@dataclass(frozen=True)
class Metric:
    """A row of figures. lower: whether less is better, which decides what over what a ratio is."""

    label: str
    key: str
    lower: bool = True


def take_turns(sides: Sequence[Side], rounds: int) -> None:
    """Measure every side in every round, beginning with another one each time. A side that fails once is left out."""
    for number in range(rounds):
        order = [*sides[number % len(sides) :], *sides[: number % len(sides)]]
        for side in order:
            if side.missing:
                continue
            try:
                side.rounds.append(side.measure())
            except RuntimeError as error:
                side.missing = reason(error)


def reason(error: Exception) -> str:
    """The last line of an error, with files named without their folders."""
    return re.sub(r"/\S*/", "", str(error).strip().splitlines()[-1])[:200]


def table(title: str, sides: Sequence[Side], metrics: Sequence[Metric]) -> list[str]:
    """Markdown: medians, and each side's median ratio to the first side, with the smallest and the largest."""
    ours = sides[0]
    head = " | ".join(metric.label for metric in metrics)
    lines = [f"### {title}", "", f"| | {head} |", "|---|" + "---|" * len(metrics)]
    for side in sides:
        texts = [cell(side, ours, metric) for metric in metrics]
        lines.append(f"| {side.name} | {' | '.join(texts)} |")
    return [*lines, *(f"\n{side.name}: not measured, {side.missing}" for side in sides if side.missing)]


def cell(side: Side, ours: Side, metric: Metric) -> str:
    """`median (ratio×, min–max)`, a ratio above 1 means that ours is better; "–" for a side without this figure."""
    values = [figures[metric.key] for figures in side.rounds if metric.key in figures]
    if side.missing or not values:
        return "–"
    text = f"{median(values):.2f}"
    if side is ours:
        return f"**{text}**"
    pairs = list(zip(ours.rounds, side.rounds, strict=False))
    ratios = sorted(ratio(mine[metric.key], other[metric.key], metric.lower) for mine, other in pairs)
    return f"{text} ({median(ratios):.2f}×, {ratios[0]:.2f}–{ratios[-1]:.2f})"


def ratio(mine: float, other: float, lower: bool) -> float:
    """How many times better mine is."""
    return other / mine if lower else mine / other
