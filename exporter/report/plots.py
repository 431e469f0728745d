"""The report's four plots, made from its figures: errors of an output, errors by layer, agreement, a precision map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from exporter.report.charts import bars, line
from exporter.validation.checks import ERROR_EXPONENTS

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
FLOOR = -9.0  # errors below 1e-9 are drawn at the axis


def power(exponent: float) -> str:
    """`10⁻³` for -3."""
    return f"10{str(round(exponent)).translate(SUPERSCRIPTS)}"


def error_histogram(counts: Sequence[int]) -> str:
    """How many elements differ by how much: heights in per cent of all."""
    total = max(sum(counts), 1)
    shares = [count / total for count in counts]
    top = max(shares) or 1.0
    exponents = list(ERROR_EXPONENTS)
    names = [power(exponent) if index % 4 == 2 else "" for index, exponent in enumerate(exponents)]
    titles = [
        f"{'above' if index == len(exponents) - 1 else 'up to'} "
        f"{10 ** (exponents[index - 1] if index == len(exponents) - 1 else exponents[index]):.1e}: "
        f"{count:,} values ({count / total:.2%})"
        for index, count in enumerate(counts)
    ]
    ticks = [(part, f"{part * top:.0%}") for part in (0.0, 0.5, 1.0)]
    return bars([share / top for share in shares], names, titles, ticks, "Distribution of errors")


def layer_errors(layers: Sequence[dict[str, Any]]) -> str:
    """Largest error of each layer on a logarithmic axis."""
    errors = [layer["error"] for layer in layers]
    known = [error for error in errors if error and math.isfinite(error)]
    high = math.ceil(math.log10(max(known))) if known else 0
    low = min(max(math.floor(math.log10(min(known))), FLOOR), high - 1) if known else -1
    heights = [None if error is None else height(error, low, high) for error in errors]
    names = layer_names([str(layer["layer"]) for layer in layers])
    titles = [
        f"layer {layer['layer']}: " + ("no counterpart in the graph" if error is None else f"{error:.2e}")
        for layer, error in zip(layers, errors, strict=True)
    ]
    step = max(1, round((high - low) / 4))
    ticks = [((place - low) / (high - low), power(place)) for place in range(int(low), high + 1, step)]
    return bars(heights, names, titles, ticks, "Largest error of each layer")


def height(error: float, low: float, high: float) -> float:
    """Place of an error between two powers of ten; NaN and infinity are as high as it gets."""
    if not math.isfinite(error):
        return 1.0
    return min(max((math.log10(max(error, 1e-30)) - low) / (high - low), 0.0), 1.0)


def layer_names(layers: Sequence[str]) -> list[str]:
    """`0` for "0 keys" and nothing for "0 values"; with many layers some of the names only."""
    short = [name.rpartition(" ")[2] if name[:1].isalpha() else name.split()[0] for name in layers]
    fresh = [name if index == 0 or short[index - 1] != name else "" for index, name in enumerate(short)]
    every = max(1, math.ceil(sum(map(bool, fresh)) / 12))
    places = [index for index, name in enumerate(fresh) if name][::every]
    return [name if index in places else "" for index, name in enumerate(fresh)]


def agreement(curve: Sequence[float]) -> str:
    """Share of texts that are still the source's after so many tokens."""
    last = max(len(curve) - 1, 1)
    points = [(index / last, share) for index, share in enumerate(curve)]
    titles = [f"{index + 1} tokens: {share:.0%} of the texts equal" for index, share in enumerate(curve)]
    step = max(1, math.ceil(len(curve) / 6))
    below = [(index / last, str(index + 1)) for index in range(0, len(curve), step)]
    left = [(part, f"{part:.0%}") for part in (0.0, 0.5, 1.0)]
    return line(points, titles, below, left, "Agreement of generated tokens by position")
