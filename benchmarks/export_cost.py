"""What an export costs: seconds by stage, and peak memory against the weights."""

from __future__ import annotations

import tempfile
from pathlib import Path


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
