"""Onward's exporter: a checkpoint becomes a verified bundle.

>>> from exporter import export
>>> export("openai-community/gpt2", task="text-generation", precision="fp16")
PosixPath('model_repository/gpt2')
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Up here, because importing a submodule binds its name in the package: later, it would replace the function below.
from exporter.export import ExportOptions, run_export

__all__ = ["export"]


def export(
    source: str | Path, task: str | None = None, output: str | Path = "model_repository", **options: Any
) -> Path:
    """Export a checkpoint and return the model directory. options: the fields of `exporter.export.ExportOptions`.

    Raises `runtime.errors.OnwardError`s; then nothing is left in `output`.
    """
    return run_export(ExportOptions(source=str(source), task=task, output=Path(output), **options)).directory
