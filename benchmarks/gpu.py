"""One run on a machine with a GPU: does every bundle say what its source says there, and how fast is it?

    python -m benchmarks.gpu --out gpu.json                               # about an hour of work, CUDA
    python -m benchmarks.gpu --provider cpu --tiny --out gpu.json         # the same with tiny models, anywhere

Builds checkpoints with random weights, exports them, validates each bundle on the provider, and times it against torch
eager (`--compile`: torch.compile too) in the same precision: tokens per second at several batches, sequences or images
per second. int8 and int4 stand beside fp16. Every step is a process of its own; one that fails is named in the table
with its reason, and the others go on. Prints one table, last, and writes all figures to `--out` as they come.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu_models import REAL_SIZES, TINY, Model
from benchmarks.turns import reason
from benchmarks.worker import run

PROMPT, NEW = 128, 64
BATCHES, TINY_BATCHES = (1, 8, 32, 128), (1, 4)
PRECISIONS, TINY_PRECISIONS = ("fp16", "int8", "int4"), ("fp16", "int8")  # of generators
ENCODER_PRECISIONS = ("fp16",)
DTYPE = "float16"  # of torch
PACKAGES = ("onnxruntime-gpu", "onnxruntime", "torch", "transformers", "numpy")


@dataclass
class Row:
    """A line of the table. unit: of `ours` and `torch`, each per second; note: why a figure is missing."""

    model: str
    precision: str
    batch: int
    unit: str
    ours: float | None = None
    first_ms: float | None = None
    torch: float | None = None
    compiled: float | None = None
    floor: float | None = None
    note: str = ""


@dataclass
class Results:
    """Everything that is known by now, written after every step."""

    out: Path | None
    environment: dict[str, Any]
    validation: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    def step(self, label: str, measurement: str, /, **arguments: Any) -> dict[str, Any] | None:
        """Run one step in a process of its own; None where it fails, and `errors` says why."""
        click.echo(f"{label} ...", err=True)
        try:
            found = run(f"benchmarks.gpu_sides:{measurement}", **arguments)
        except RuntimeError as error:
            self.errors[label] = reason(error)
            found = None
        else:
            self.figures[label] = found
        self.write()
        return found

    def write(self) -> None:
        """Keep what is known, whatever happens next."""
        if self.out is not None:
            content = {name: value for name, value in vars(self).items() if name not in ("out", "rows")}
            self.out.write_text(json.dumps({**content, "rows": [asdict(row) for row in self.rows]}, indent=1))


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    provider: str
    tiny: bool
    compiled: bool
    bandwidth: float
    folder: Path

    @property
    def batches(self) -> tuple[int, ...]:
        """Rows at a time."""
        return TINY_BATCHES if self.tiny else BATCHES

    def precisions(self, model: Model) -> tuple[str, ...]:
        """What a model is exported in."""
        if model.task != "text-generation":
            return ENCODER_PRECISIONS
        return TINY_PRECISIONS if self.tiny else PRECISIONS

    def checkpoint(self, name: str) -> str:
        """Where a checkpoint is built."""
        return str(self.folder / "checkpoints" / name)

    def bundle(self, name: str, precision: str) -> str:
        """Where a bundle is exported to."""
        return str(self.folder / "bundles" / f"{name}-{precision}")


@click.command()
@click.option("--provider", default="cuda", show_default=True, type=click.Choice(["cuda", "cpu"]))
@click.option("--tiny", is_flag=True, help="Tiny models and few batches: a dry run.")
@click.option("--only", multiple=True, help="Models; all by default.")
@click.option("--compile", "compiled", is_flag=True, help="torch.compile as well, with a static cache for generation.")
@click.option("--bandwidth", default=0.0, help="Of the memory, in TB/s: tells the floor of a decode step.")
@click.option("--out", type=click.Path(path_type=Path), help="All figures, as JSON.")
@click.option(
    "--work", type=click.Path(path_type=Path), help="Keeps checkpoints and bundles; a temporary one by default."
)
def main(
    provider: str,
    tiny: bool,
    only: tuple[str, ...],
    compiled: bool,
    bandwidth: float,
    out: Path | None,
    work: Path | None,
) -> None:
    """Validate and measure on a GPU; see the module's text."""
    models = TINY if tiny else REAL_SIZES
    unknown = set(only) - set(models)
    if unknown:
        raise click.UsageError(f"no model {', '.join(sorted(unknown))}: there are {', '.join(models)}")
    results = Results(out, environment(provider))
    with tempfile.TemporaryDirectory() as temporary:
        plan = Plan(provider, tiny, compiled, bandwidth, work or Path(temporary))
        for name in only or models:
            measure(plan, results, name, models[name])
    results.write()
    click.echo("\n".join(report(results)))


def measure(plan: Plan, results: Results, name: str, model: Model) -> None:
    """Build, export, validate and time one model in its precisions."""
    checkpoint = plan.checkpoint(name)
    if results.step(f"{name}: build", "build", name=name, folder=checkpoint, tiny=plan.tiny) is None:
        return
    generates = model.task == "text-generation"
    rivals = list(torch_sides(plan, results, name, model, checkpoint))
    for precision in plan.precisions(model):
        where, bundle = f"{name} {precision}", plan.bundle(name, precision)
        arguments = {"output": str(Path(bundle).parent), "name": Path(bundle).name, "precision": precision}
        made = results.step(f"{where}: export", "export", checkpoint=checkpoint, device=plan.provider, **arguments)
        if made is None:
            continue
        asked = {"bundle": bundle, "checkpoint": checkpoint, "provider": plan.provider}
        results.validation[where] = results.step(f"{where}: validation", "validate", **asked)
        for batch, rival in zip(plan.batches, rivals, strict=True):
            row = Row(model.title, precision, batch, "tokens" if generates else "items", **rival)
            fill_row(plan, results, row, where, bundle, made["export_mb"])
            results.rows.append(row)


def torch_sides(
    plan: Plan, results: Results, name: str, model: Model, checkpoint: str
) -> Iterator[dict[str, float | None]]:
    """What torch does at each batch, once for all precisions."""
    for batch in plan.batches:
        found: dict[str, float | None] = {}
        for key, compiled in (("torch", False), ("compiled", True)) if plan.compiled else (("torch", False),):
            asked = {"checkpoint": checkpoint, "provider": plan.provider, "dtype": DTYPE, "batch": batch}
            if model.task == "text-generation":
                more: dict[str, Any] = {"prompt": PROMPT, "new": NEW}
                side = "decode_torch"
            else:
                more, side = {"task": model.task}, "encode_torch"
            figures = results.step(f"{name}, batch {batch}: {key}", side, **asked, **more, compiled=compiled)
            found[key] = per_second(figures, batch)
        yield found


def fill_row(plan: Plan, results: Results, row: Row, where: str, bundle: str, size_mb: float) -> None:
    """Our own figures."""
    name, asked = f"{where}, batch {row.batch}", {"bundle": bundle, "provider": plan.provider, "batch": row.batch}
    if row.unit == "tokens":
        figures = results.step(name, "decode", **asked, prompt=PROMPT, new=NEW)
        if plan.bandwidth and figures is not None:
            # A step reads the weights once and the keys and values of all rows, on average half of what is new.
            cache = figures["cache_mb"] * (PROMPT + NEW / 2) / (PROMPT + NEW)
            row.floor = row.batch * plan.bandwidth * 1e12 / (2**20 * (size_mb + cache))
    else:
        figures = results.step(name, "encode", **asked)
    row.ours = per_second(figures, row.batch)
    row.first_ms = None if figures is None else figures.get("first_ms")
    row.note = results.errors.get(name, "")


def per_second(figures: dict[str, Any] | None, batch: int) -> float | None:
    """Tokens of steps, or items of passes, per second."""
    return None if figures is None else 1000 * batch / (figures.get("step_ms") or figures["ms"])


def environment(provider: str) -> dict[str, Any]:
    """Versions, and the card."""
    found: dict[str, Any] = {"provider": provider, "prompt": PROMPT, "new": NEW}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if provider == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return found


def report(results: Results) -> list[str]:
    """The table, then what the validation found and what could not be done."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("model", lambda row: row.model),
        ("precision", lambda row: row.precision),
        ("batch", lambda row: str(row.batch)),
        ("onward, per s", lambda row: number(row.ours)),
        ("torch eager fp16, per s", lambda row: versus(row.torch, row)),
        ("torch.compile fp16, per s", lambda row: versus(row.compiled, row)),
        ("floor, per s", lambda row: number(row.floor)),
        ("first token, ms", lambda row: number(row.first_ms)),
    ]
    lines = [f"{where}: {verdict(found)}" for where, found in results.validation.items()]
    lines += [f"{name}: {why}" for name, why in results.errors.items()]
    lines += ["", "| " + " | ".join(title for title, _ in columns) + " |", "|---" * len(columns) + "|"]
    return [*lines, *("| " + " | ".join(text(row) for _, text in columns) + " |" for row in results.rows)]


def verdict(found: dict[str, Any] | None) -> str:
    """One line about a validation."""
    if found is None:
        return "validation did not run"
    failed = found["failed"]
    return f"{found['checks'] - len(failed)} of {found['checks']} checks passed" + "".join(f"; {one}" for one in failed)


def number(value: float | None) -> str:
    """With three digits or all before the point."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def versus(value: float | None, row: Row) -> str:
    """A rival's figure, and how many times faster we are."""
    return number(value) if value is None or row.ours is None else f"{number(value)} ({row.ours / value:.2f}×)"


if __name__ == "__main__":
    main()
