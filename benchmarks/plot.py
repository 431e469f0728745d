"""A plot of a few series over lengths that double, as an SVG file that reads well on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.report.charts import HEIGHT, WIDTH, axis, text, x_of, y_of

COLOURS = ("#2f81f7", "#d29922", "#3fb950")
STYLE = (
    "text{font:11px sans-serif;fill:#848d97}.grid{stroke:#848d97;stroke-opacity:.25}polyline{fill:none;stroke-width:2}"
)
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def write_plot(path: Path, lengths: Sequence[int], series: Mapping[str, Sequence[float]], unit: str) -> None:
    """Draw `series` (name → a value for each length), from zero up; the name stands at the end of its line."""
    step = next(step for step in STEPS if max(map(max, series.values())) <= 4 * step)
    top = step * math.ceil(max(map(max, series.values())) / step)
    ticks = [(value / top, f"{value} {unit}") for value in range(0, top + 1, step)]
    parts = [
        *axis(ticks),
        *(text(x_of(x), HEIGHT - 14, str(n), "middle") for x, n in zip(places(lengths), lengths, strict=True)),
    ]
    for colour, (name, values) in zip(COLOURS, series.items(), strict=False):
        parts += curve(places(lengths), [value / top for value in values], name, colour)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"><style>{STYLE}</style>'
        f"{''.join(parts)}</svg>\n"
    )


def places(lengths: Sequence[int]) -> list[float]:
    """Logarithmic places in [0, 1]."""
    low, high = math.log2(lengths[0]), math.log2(lengths[-1])
    return [0.04 + 0.94 * (math.log2(length) - low) / (high - low) for length in lengths]


def curve(xs: Sequence[float], ys: Sequence[float], name: str, colour: str) -> list[str]:
    """A line with dots, and its name above the last one."""
    points = [(x_of(x), y_of(y)) for x, y in zip(xs, ys, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    label = text(points[-1][0], points[-1][1] - 8, name, "end").replace("<text ", f'<text style="fill:{colour}" ')
    return [f'<polyline points="{path}" stroke="{colour}"/>', *dots, label]
