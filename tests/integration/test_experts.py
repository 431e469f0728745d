"""Trained mixtures of experts in 4 and 8 bit: validated against their source, and hardly a weight stays float."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter import export
from runtime.bundle import open_bundle
from runtime.session import close_sessions
from tests.checkpoints import TINY_MIXTRAL, TINY_QWEN2_MOE

LAYERS = 2


@pytest.mark.parametrize("precision", ["int4", "int8"])
@pytest.mark.parametrize("checkpoint", [TINY_MIXTRAL, TINY_QWEN2_MOE], ids=lambda path: path.name)
def test_experts_are_quantised_and_agree(checkpoint: Path, precision: str, tmp_path: Path) -> None:
    directory = export(checkpoint, output=tmp_path, precision=precision)
    manifest = open_bundle(directory).manifest
    assert manifest.validation["passed"] is True
    nodes = manifest.graphs["model"].nodes
    assert nodes["QMoE"] == LAYERS
    assert nodes["GroupQueryAttention"] == LAYERS
    quantization = manifest.provenance["quantisation"]
    assert quantization["weights_percent"]["float"] < 5
    assert quantization["experts"].startswith("QMoE")
    size = sum(path.stat().st_size for path in directory.rglob("*.data"))
    source = (checkpoint / "model.safetensors").stat().st_size * 2  # float16 there
    assert size < source * (0.3 if precision == "int4" else 0.4)
    close_sessions()
