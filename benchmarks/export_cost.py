"""What an export costs: seconds and peak memory by stage, and the peak against the weights in float32."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from benchmarks import models
from benchmarks.worker import run

# Checkpoint, its name for people, and (precision, validated) of each export.
CASES = [
    ("gpt2_124m", "GPT-2 124M", [("fp32", True), ("fp32", False), ("fp16", True), ("int8", True), ("int4", True)]),
    ("qwen2_05b", "a Qwen2.5 of 0.5B", [("fp32", True), ("fp16", True), ("int8", True), ("int4", True)]),
]
HEAD = [
    "| | seconds | peak memory, MiB | × the fp32 weights | peak by stage, MiB | seconds by stage |",
    "|---|---|---|---|---|---|",
]


def measure(rounds: int, only: str = "") -> list[str]:
    """One round, it takes long. The peak is that of all processes that are alive, torch and transformers in them."""
    torch, runtime = modules_mb("torch"), modules_mb("runtime")
    lines = [f"Before anything is loaded: {torch:.0f} MiB of modules in torch's process, {runtime:.0f} in the other."]
    for name, title, exports in CASES:
        checkpoint = models.checkpoint(name)
        lines += ["", f"### Export of {title}, {weights_mb(checkpoint):.0f} MiB of weights", "", *HEAD]
        lines += [row(checkpoint, precision, validate) for precision, validate in exports if only in title]
    return lines


def row(checkpoint: str, precision: str, validate: bool) -> str:
    """One export as a line of the table."""
    figures = run("benchmarks.export_cost:onward", checkpoint=checkpoint, precision=precision, validate=validate)
    stages = [key.removesuffix("_s") for key in figures if key.endswith("_s")]
    peaks = ", ".join(f"{stage} {figures[f'{stage}_peak']:.0f}" for stage in stages)
    seconds = ", ".join(f"{stage} {figures[f'{stage}_s']:.1f}" for stage in stages)
    peak, total = figures["stages_peak"], figures["seconds"]
    name = f"{precision}, {'validated' if validate else 'not validated'}"
    return f"| {name} | {total:.1f} | {peak:.0f} | {peak / weights_mb(checkpoint):.2f} | {peaks} | {seconds} |"


def onward(checkpoint: str, precision: str = "fp32", validate: bool = True) -> dict[str, float]:
    """Export once: `seconds`, `stages_peak` (MiB), and of each stage `_s` and `_peak`."""
    from benchmarks.peaks import PeakWatcher
    from exporter.export import ExportOptions, run_export
    from exporter.stages import Stages
    from runtime.errors import ValidationError

    watcher = PeakWatcher()
    stages = Stages(watcher)
    with tempfile.TemporaryDirectory() as output:
        options = ExportOptions(source=checkpoint, precision=precision, output=Path(output), validate=validate)
        # Random weights: 4 bit generate other tokens, at the same cost.
        with contextlib.suppress(ValidationError):
            run_export(options, stages)
    figures = {f"{name}_s": value for name, value in stages.seconds.items()}
    figures |= {f"{name}_peak": value for name, value in watcher.peaks.items()}
    return {"seconds": sum(stages.seconds.values()), "stages_peak": max(watcher.peaks.values()), **figures}


def modules_mb(half: str) -> float:
    """Memory of a process that has loaded nothing but the modules of one half of an export."""
    return run(f"benchmarks.export_cost:{half}_modules")["peak_mb"]


def torch_modules() -> dict[str, float]:
    """What the first half imports."""
    import exporter.bundle_writer
    import exporter.making
    import exporter.report.observe
    import exporter.validation.run  # noqa: F401

    return {}


def runtime_modules() -> dict[str, float]:
    """What the second half imports."""
    import exporter.finishing
    import exporter.report.build  # noqa: F401

    return {}


def weights_mb(checkpoint: str) -> float:
    """Size of the checkpoint's safetensors, which hold float32."""
    return sum(path.stat().st_size for path in Path(checkpoint).glob("*.safetensors")) / 2**20
