"""Charts as inline SVG: bars, lines and their axes. Colours are the page's, so they follow its theme."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 520, 200
LEFT, RIGHT, TOP, BOTTOM = 50, 8, 12, 30
Labels = Sequence[tuple[float, str]]


def bars(values: Sequence[float | None], names: Sequence[str], titles: Sequence[str], ticks: Labels, label: str) -> str:
    """One bar for each value in [0, 1]; None leaves a gap. names: below the bars ("" for none); titles: on hover.

    ticks: (height in [0, 1], text) of the left axis. label: for those who do not see it.
    """
    step = (WIDTH - LEFT - RIGHT) / max(len(values), 1)
    width = max(min(step * 0.78, 44), 1)
    parts = []
    for index, value in enumerate(values):
        x = LEFT + step * (index + 0.5)
        if value is not None:
            top = y_of(max(value, 0.006) if value else 0)
            parts.append(
                f'<rect class="bar" x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{y_of(0) - top:.1f}" rx="2"><title>{escape(titles[index])}</title></rect>'
            )
        if names[index]:
            parts.append(text(x, HEIGHT - BOTTOM + 16, names[index], "middle"))
    return frame([*axis(ticks), *parts], label)


def line(
    points: Sequence[tuple[float, float]], titles: Sequence[str], x_ticks: Labels, y_ticks: Labels, label: str
) -> str:
    """A line through points in [0, 1] x [0, 1], each with a dot and a title."""
    places = [(x_of(x), y_of(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    area = f"{places[0][0]:.1f},{y_of(0):.1f} {path} {places[-1][0]:.1f},{y_of(0):.1f}" if places else ""
    dots = [
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{escape(title)}</title></circle>'
        for (x, y), title in zip(places, titles, strict=True)
    ]
    below = [text(x_of(x), HEIGHT - BOTTOM + 16, name, "middle") for x, name in x_ticks]
    shapes = [f'<polygon class="area" points="{area}"/>', f'<polyline class="line" points="{path}"/>']
    return frame([*axis(y_ticks), *shapes, *dots, *below], label)


def axis(ticks: Labels) -> list[str]:
    """Grid lines with their texts at the left."""
    parts = []
    for height, name in ticks:
        y = y_of(height)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(LEFT - 8, y + 4, name, "end"))
    return parts


def text(x: float, y: float, content: str, anchor: str) -> str:
    """A label."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def frame(parts: Sequence[str], label: str) -> str:
    """The drawing around its parts."""
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label, quote=True)}">{body}</svg>'


def x_of(value: float) -> float:
    """From [0, 1] to the drawing."""
    return LEFT + value * (WIDTH - LEFT - RIGHT)


def y_of(value: float) -> float:
    """From [0, 1], upwards, to the drawing, where y grows downwards."""
    return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)
