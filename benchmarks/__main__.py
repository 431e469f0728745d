"""`make bench`: builds checkpoints at real sizes, exports them, measures against the peers, writes RESULTS.md.

Sides take turns, round by round, each in a fresh process; quoted are medians and the median of the ratios within a
round. Absolute times hold for the machine and the run.
"""

from __future__ import annotations

from collections.abc import Callable

import click
from rich.console import Console
from rich.markdown import Markdown

from benchmarks import (
    arrivals,
    cold_start,
    context,
    decode,
    encoders,
    engine_overhead,
    engine_reuse,
    export_cost,
    seq2seq,
)
from benchmarks.results import write_section

PARTS: dict[str, Callable[[int, str], list[str]]] = {
    "decode": decode.measure,
    "context": context.measure,
    "encoders": encoders.measure,
    "arrivals": arrivals.measure,
    "seq2seq": seq2seq.measure,
    "engine-overhead": engine_overhead.measure,
    "engine-reuse": engine_reuse.measure,
    "cold-start": cold_start.measure,
    "export": export_cost.measure,
}


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often each side is measured.")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Parts to measure; all by default.")
@click.option("--case", default="", help="Only cases whose title contains this.")
def main(rounds: int, only: tuple[str, ...], case: str) -> None:
    """Measure Onward against the engines that people would otherwise use. Random weights, real sizes."""
    console = Console()
    for part in only or PARTS:
        with console.status(f"measuring {part}"):
            lines = PARTS[part](rounds, case)
        console.print(Markdown("\n".join(lines)))
        write_section(part, lines)


if __name__ == "__main__":
    main()
