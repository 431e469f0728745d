"""`make bench`: builds checkpoints at real sizes, exports them, measures, prints tables, writes RESULTS.md.

Sides take turns, round by round; quoted are medians and the median of the ratios within a round. Absolute times hold
for the machine and the run.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from benchmarks import export_cost
from benchmarks.worker import run

CACHE = Path(__file__).parent / ".cache"
RESULTS = Path(__file__).parent / "RESULTS.md"
Rounds = list[dict[str, float]]


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often each side is measured.")
@click.option("--only", multiple=True, help="decode, cold-start, export; all by default.")
def main(rounds: int, only: tuple[str, ...]) -> None:
    """Measure Onward against transformers on GPT-2 124M (random weights)."""
    console = Console()
    checkpoint, bundle = prepare(console)
    parts: dict[str, Callable[[], list[str]]] = {
        "decode": lambda: decode(checkpoint, bundle, rounds),
        "cold-start": lambda: cold_start(checkpoint, bundle, rounds),
        "export": lambda: export(checkpoint),
    }
    lines = [f"Measured {datetime.now(UTC):%Y-%m-%d} on {platform.processor() or platform.machine()}, {cores()} cores."]
    for name in only or parts:
        with console.status(f"measuring {name}"):
            table = parts[name]()
        lines += ["", *table]
        show(console, table)
    if not only:
        RESULTS.write_text("# Results of `make bench`\n\n" + "\n".join(lines) + "\n")
        console.print(f"written to {RESULTS}")


def cores() -> int:
    """Cores that the measurements may use."""
    from runtime.session import available_threads

    return available_threads()


def prepare(console: Console) -> tuple[str, str]:
    """The checkpoint (built once) and its bundle (exported anew)."""
    from tests.checkpoints.builders import gpt2_124m

    checkpoint = CACHE / "gpt2-124m"
    with console.status("building and exporting GPT-2 124M"):
        if not (checkpoint / "config.json").is_file():
            gpt2_124m(checkpoint)
        run("benchmarks.prepare:export_to", checkpoint=str(checkpoint), output=str(CACHE / "bundles"))
    return str(checkpoint), str(CACHE / "bundles" / "gpt2-124m")


def alternate(
    ours: Callable[[], dict[str, float]], theirs: Callable[[], dict[str, float]], rounds: int
) -> tuple[Rounds, Rounds]:
    """Measure in turn, ours first in every other round."""
    left: Rounds = []
    right: Rounds = []
    for number in range(rounds):
        for side, measure in sorted(
            [(left, ours), (right, theirs)], key=lambda pair: (pair[0] is left) == bool(number % 2)
        ):
            side.append(measure())
    return left, right


def decode(checkpoint: str, bundle: str, rounds: int) -> list[str]:
    """Batch 1, prompt 128, 128 new tokens."""
    ours, theirs = alternate(
        lambda: run("benchmarks.decode:onward", bundle=bundle),
        lambda: run("benchmarks.decode:transformers", checkpoint=checkpoint),
        rounds,
    )
    rows = [("ms per token", "step_ms"), ("first token, ms", "first_ms"), ("peak memory, MB", "peak_mb")]
    return markdown("GPT-2 124M fp32, batch 1, prompt 128, 128 new tokens, greedy", ours, theirs, rows)


def cold_start(checkpoint: str, bundle: str, rounds: int) -> list[str]:
    """Process start to first answer."""
    ours, theirs = alternate(
        lambda: run("benchmarks.cold_start:onward", bundle=bundle),
        lambda: run("benchmarks.cold_start:transformers", checkpoint=checkpoint),
        rounds,
    )
    return markdown("GPT-2 124M, process start to first answer (8 tokens)", ours, theirs, [("seconds", "seconds")])


def export(checkpoint: str) -> list[str]:
    """Time by stage and peak memory, with and without validation."""
    weights = export_cost.weights_mb(checkpoint)
    lines = [
        "### Export of GPT-2 124M",
        "",
        f"| | seconds | peak memory, MB | × the weights ({weights:.0f} MB) |",
        "|---|---|---|---|",
    ]
    for precision, validate in (("fp32", True), ("fp32", False), ("fp16", True)):
        figures = run("benchmarks.export_cost:onward", checkpoint=checkpoint, precision=precision, validate=validate)
        name = f"{precision}, {'validated' if validate else 'not validated'}"
        peak = figures["peak_mb"]
        lines.append(f"| {name} | {figures['seconds']:.1f} | {peak:.0f} | {peak / weights:.2f} |")
        stages = ", ".join(
            f"{key.removesuffix('_s')} {value:.1f}" for key, value in figures.items() if key.endswith("_s")
        )
        lines.append(f"| – stages | {stages} | | |")
    return lines


def markdown(title: str, ours: Rounds, theirs: Rounds, rows: list[tuple[str, str]]) -> list[str]:
    """A table of medians and of the median ratio within rounds."""
    lines = [f"### {title}", "", "| | onward | transformers (torch eager) | ratio (min–max) |", "|---|---|---|---|"]
    for label, key in rows:
        ratios = sorted(b[key] / a[key] for a, b in zip(ours, theirs, strict=True))
        left, right = median(a[key] for a in ours), median(b[key] for b in theirs)
        lines.append(
            f"| {label} | {left:.2f} | {right:.2f} | **{median(ratios):.2f}×** ({ratios[0]:.2f}–{ratios[-1]:.2f}) |"
        )
    return lines


def show(console: Console, lines: list[str]) -> None:
    """Print a Markdown table as a table."""
    title, header, *rows = [line for line in lines if line and not line.startswith("|---")]
    table = Table(*cells(header), title=title.strip("# "), title_justify="left")
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)


def cells(line: str) -> list[str]:
    """The cells of a Markdown row."""
    return [cell.strip().replace("**", "") for cell in line.strip("|").split("|")]


if __name__ == "__main__":
    main()
