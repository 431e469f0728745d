"""What `onward export` shows: stages while they run, and tables at the end."""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from exporter.export import ExportResult, Outcome
    from exporter.validation.checks import Check


# What a first `onward run` of each task could ask.
EXAMPLES = {
    "text-generation": '"Hello"',
    "token-classification": '"Ada Lovelace lived in London."',
    "fill-mask": '"The capital of France is [MASK]."',
    "question-answering": '"Where did Ada live?" -o context="Ada Lovelace lived in London."',
    "zero-shot-classification": """"A very good day." -o 'candidate_labels=["weather", "sports"]'""",
    "summarization": "< article.txt",
    "image-classification": "image.png",
    "object-detection": "image.png --save boxes.png",
    "image-to-text": "image.png",
}


class LiveStages:
    """Shows the stage under way with its seconds, and those that ended, one line each."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, transient=True, refresh_per_second=10)

    def __enter__(self) -> LiveStages:
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def begin(self, name: str) -> None:
        """A stage starts."""
        self.live.update(Running(name))

    def end(self, name: str, seconds: float) -> None:
        """A stage has ended: its line stays."""
        self.live.update(Text(""))
        self.console.print(f"[green]✓[/] {name:<22} [dim]{seconds:6.1f} s[/]")


class Running:
    """A spinner with the seconds so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.started = time.perf_counter()
        self.spinner = Spinner("dots")

    def __rich__(self) -> Spinner:
        seconds = time.perf_counter() - self.started
        self.spinner.update(text=f"{self.name:<22} [dim]{seconds:6.1f} s[/]")
        return self.spinner


def show_result(console: Console, result: ExportResult) -> None:
    """Sizes, path taken, validation figures, and how to run it."""
    manifest = result.manifest
    table = Table(title=f"{manifest.name}, version {manifest.version}", title_justify="left", show_header=False)
    table.add_row("task", f"{manifest.task} ({manifest.architecture}, {manifest.precision})")
    table.add_row("path", Text(f"{manifest.path}: {manifest.path_reason}"))
    for name, graph in manifest.graphs.items():
        top = ", ".join(f"{count} {op}" for op, count in list(graph.nodes.items())[:4])
        table.add_row(f"graph {name}", f"{sum(graph.nodes.values())} nodes ({top}, …)")
    if kept := manifest.provenance.get("quantisation"):
        table.add_row("weights", ", ".join(f"{share:g} % {kind}" for kind, share in kept["weights_percent"].items()))
        for note in kept.get("notes", []):
            table.add_row("note", Text(note))
    for name, reason in manifest.provenance.get("islands", {}).items():
        table.add_row("float32 island", Text(f"{name}: {reason}"))
    for path in files_of(result.directory / str(manifest.version)):
        table.add_row(path.name, megabytes(path.stat().st_size))
    table.add_row("validation", validation_line(manifest.validation))
    for name, measured in manifest.validation.get("accuracy", {}).items():
        table.add_row(name, accuracy_line(measured))
    table.add_row("time", f"{sum(result.seconds.values()):.1f} s")
    console.print(table)
    question = EXAMPLES.get(manifest.task, '"I love this!"')
    for title, line in (
        ("Read it", str(result.directory / str(manifest.version) / "report.html")),
        ("Run it", f"onward run {quote(str(result.directory))} {question}"),
        ("Serve it", f"onward serve {quote(str(result.directory.parent))}"),
    ):
        # Not wrapped and without markup: it is there to be copied.
        console.print(Text(f"{title:<11}", style="bold"), line, soft_wrap=True, highlight=False, markup=False)


def show_precisions(console: Console, outcomes: list[Outcome]) -> None:
    """One line for each precision of an export in several."""
    table = Table("precision", "bundle", "size", "validation", title="Precisions", title_justify="left")
    for outcome in outcomes:
        if outcome.result is None:
            table.add_row(outcome.precision, "[red]none[/]", "", Text(str(outcome.error)))
            continue
        directory, manifest = outcome.result.directory, outcome.result.manifest
        size = sum(path.stat().st_size for path in files_of(directory / str(manifest.version)))
        table.add_row(outcome.precision, str(directory), megabytes(size), validation_line(manifest.validation))
    console.print(table)


def show_checks(console: Console, checks: list[Check]) -> None:
    """Every check with its figures; what failed, and how."""
    table = Table("", "point", "check", "figures", "what differs", title="Validation", title_justify="left")
    for check in checks:
        mark = "[green]✓[/]" if check.passed else "[red]✗[/]"
        table.add_row(mark, check.point, check.name, figures(check.figures), Text(check.detail))
    console.print(table)


def files_of(bundle: Path) -> list[Path]:
    """Graphs and weights of a bundle, largest first."""
    return sorted(bundle.glob("*.onnx*"), key=lambda path: -path.stat().st_size)


def megabytes(size: int) -> str:
    """Bytes for people, in MB."""
    return f"{size / 1e6:.1f} MB"


def validation_line(validation: dict[str, Any]) -> str:
    """The manifest's summary in one line."""
    if validation.get("passed") is None:
        return f"[yellow]skipped[/] ({validation.get('reason', '')})"
    rest = {name: value for name, value in validation.items() if name not in ("passed", "checks", "accuracy")}
    return f"[green]{validation['checks']} checks passed[/], worst: {figures(rest)}"


def accuracy_line(measured: dict[str, float]) -> str:
    """A metric of source and bundle."""
    pair = f"{measured['source']:.2f} → {measured['bundle']:.2f}"
    return f"{pair} (drop {measured['drop']:.2f}, allowed {measured['allowed']:g}, {measured['examples']:.0f} examples)"


def figures(values: dict[str, float]) -> str:
    """`error 1.2e-06, top1 1` for people."""
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
