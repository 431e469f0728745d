"""The table that `onward bench` prints: figures by row, subjects by column, ratios beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

Form = Callable[[float], str]


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def milliseconds(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.2f} ms"


def megabytes(value: float) -> str:
    return f"{value:.0f} MB" if value >= 100 else f"{value:.1f} MB"


def rate(value: float) -> str:
    return f"{value:.1f}"


WHOLE: tuple[tuple[str, str, Form], ...] = (
    ("size", "size on disk", lambda value: megabytes(value / 1e6)),
    ("load_s", "load", seconds),
    ("first_answer_s", "process start to first answer", seconds),
    ("peak_mb", "peak memory", megabytes),
)
BATCH: tuple[tuple[str, str, Form], ...] = (
    ("first_token_ms", "first token", milliseconds),
    ("tokens_per_s", "tokens a second after it", rate),
    ("p50_ms", "answer, p50", milliseconds),
    ("p95_ms", "answer, p95", milliseconds),
    ("per_s", "answers a second", rate),
)


def bench_table(records: Sequence[dict[str, Any]], title: str) -> Table:
    """One column a subject, the reference first; ratios above 1 are better than it."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for record in records:
        table.add_column(f"{record['name']}\n{record['precision']}", justify="right")
    for name, label, form in WHOLE:
        add_row(table, label, [(record.get(name), record["ratios"].get(name)) for record in records], form)
    for size in records[0]["batches"]:
        table.add_section()
        for name, label, form in BATCH:
            cells = [(record["batches"][size].get(name), record["ratios"].get(f"{size}.{name}")) for record in records]
            add_row(table, f"batch {size}: {label}", cells, form)
    return table


def add_row(table: Table, label: str, cells: Sequence[tuple[float | None, float | None]], form: Form) -> None:
    """A row, unless nobody has the figure."""
    if any(value is not None for value, _ in cells):
        table.add_row(label, *(cell(value, ratio, form) for value, ratio in cells))


def cell(value: float | None, ratio: float | None, form: Form) -> Text:
    """`12.3 ms  2.10×`, green above 1, red below 0.95."""
    if value is None:
        return Text("–")
    text = Text(form(value))
    if ratio is not None:
        text.append(f"  {ratio:.2f}×", style="green" if ratio >= 1 else "red" if ratio < 0.95 else "dim")
    return text
