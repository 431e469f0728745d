"""Exports a checkpoint for the other measurements."""

from __future__ import annotations

from pathlib import Path


def export_to(
    checkpoint: str, output: str, precision: str = "fp32", name: str | None = None, embedding_bits: int | None = None
) -> dict[str, float]:
    """Export without validation, replacing what is there."""
    from exporter import export
    from exporter.quantization.request import Settings

    options = {"quantization": Settings(embedding_bits=embedding_bits), "validate": False, "force": True}
    export(checkpoint, output=Path(output), precision=precision, name=name, **options)
    return {}
