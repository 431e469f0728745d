"""What an export costs: seconds by stage, and peak memory against the weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import models
from benchmarks.worker import run

CASES = [("fp32", True), ("fp32", False), ("fp16", True), ("int8", True), ("int4", True)]


def measure(rounds: int, only: str = "") -> list[str]:
    """Time by stage and peak memory of GPT-2 124M, with and without validation; one round, it takes long."""
    checkpoint = models.checkpoint("gpt2_124m")
    weights = weights_mb(checkpoint)
    head = f"| | seconds | peak memory, MB | × the weights ({weights:.0f} MB) | stages, s |"
    lines = ["### Export of GPT-2 124M", "", head, "|---|---|---|---|---|"]
    for precision, validate in CASES:
        figures = run("benchmarks.export_cost:onward", checkpoint=checkpoint, precision=precision, validate=validate)
        name = f"{precision}, {'validated' if validate else 'not validated'}"
        peak = figures["peak_mb"]
        stages = ", ".join(
            f"{key.removesuffix('_s')} {value:.1f}" for key, value in figures.items() if key[-2:] == "_s"
        )
        lines.append(f"| {name} | {figures['seconds']:.1f} | {peak:.0f} | {peak / weights:.2f} | {stages} |")
    return lines


def onward(checkpoint: str, precision: str = "fp32", validate: bool = True) -> dict[str, float]:
    """Export once; the worker adds the peak memory of the process."""
    from exporter.export import ExportOptions, run_export
    from exporter.stages import Stages

    stages = Stages()
    with tempfile.TemporaryDirectory() as output:
        options = ExportOptions(source=checkpoint, precision=precision, output=Path(output), validate=validate)
        run_export(options, stages)
    return {"seconds": sum(stages.seconds.values()), **{f"{name}_s": value for name, value in stages.seconds.items()}}


def weights_mb(checkpoint: str) -> float:
    """Size of the checkpoint's safetensors."""
    return sum(path.stat().st_size for path in Path(checkpoint).glob("*.safetensors")) / 2**20
