"""fp16: modules that leave the range of float16 become float32 islands, and are named."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from exporter.export import ExportOptions, ExportResult, run_export
from exporter.loading import Checkpoint, load_checkpoint, load_config
from exporter.source import resolve_source
from exporter.tasks import resolve_task
from exporter.tracing.overflow import float32_islands
from runtime.cli.export_view import show_result
from runtime.errors import ExportError
from tests.checkpoints.builders import tiny, tiny_classifier

# Activations of the first MLP pass 65504; the norms behind it bring them back.
MLP = {"layers.0.mlp.up_proj": 2e4, "layers.0.mlp.gate_proj": 10.0, "layers.0.mlp.down_proj": 5e-6}
STREAM = {"layers.0.mlp.up_proj": 50.0, "layers.0.mlp.gate_proj": 50.0, "layers.0.mlp.down_proj": 3e4}
QUERIES = {"layers.0.self_attn.q_proj": 5e4}


def scale(folder: Path, factors: dict[str, float]) -> Path:
    """Multiply the weights whose names contain a key."""
    weights = load_file(folder / "model.safetensors")
    for part, factor in factors.items():
        names = [name for name in weights if part in name]
        assert names, part
        weights |= {name: weights[name] * factor for name in names}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def loaded(folder: Path, dtype: str = "float16") -> Checkpoint:
    """A checkpoint as an export loads it."""
    source = resolve_source(str(folder))
    return load_checkpoint(source, resolve_task(None, load_config(source), source), dtype=dtype)


def islands_of(folder: Path) -> dict[str, str]:
    """What a float16 export of `folder` would keep in float32."""
    return float32_islands(loaded(folder), lambda: loaded(folder, "float32").model)


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose first MLP overflows float16."""
    return scale(tiny("llama", tmp_path_factory.mktemp("overflowing")), MLP)


@pytest.fixture(scope="module")
def exported(overflowing: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """Its validated fp16 bundle."""
    output = tmp_path_factory.mktemp("repository")
    return run_export(ExportOptions(str(overflowing), precision="fp16", output=output, name="llama"))


def test_an_overflowing_mlp_is_mended_and_named_everywhere(exported: ExportResult) -> None:
    islands = exported.manifest.provenance["islands"]
    assert exported.manifest.validation["passed"] is True
    assert "model.layers.0.mlp.up_proj" in islands
    assert not any("layers.1.mlp" in name or "self_attn" in name for name in islands)
    bundle = exported.directory / "1"
    assert json.loads((bundle / "report.json").read_text())["manifest"]["provenance"]["islands"] == islands
    page = (bundle / "report.html").read_text()
    assert all(name in page for name in islands)


def test_the_command_shows_the_islands(exported: ExportResult) -> None:
    console = Console(file=io.StringIO(), width=200)
    show_result(console, exported)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "float32 island" in text and "model.layers.0.mlp.up_proj" in text


def test_islands_turn_infinities_into_the_sources_answer(overflowing: Path) -> None:
    # In torch: ONNX Runtime's CPU kernels compute float16 graphs in float32, where only a GPU would overflow.
    checkpoint, ids = loaded(overflowing), torch.arange(20)[None]
    with torch.no_grad():
        assert not torch.isfinite(checkpoint.model(ids).logits).all()
        float32_islands(checkpoint, lambda: loaded(overflowing, "float32").model)
        assert difference(checkpoint, overflowing, ids) < 0.03


def difference(checkpoint: Checkpoint, folder: Path, ids: torch.Tensor) -> float:
    """Of a model's logits from those of the float32 source, as a share of the largest."""
    found, expected = checkpoint.model(ids).logits, loaded(folder, "float32").model(ids).logits
    assert found.dtype == torch.float16
    return float((found.float() - expected).abs().max() / expected.abs().max())


def test_a_checkpoint_in_range_has_no_island(causal_lm_checkpoint: Path, classifier_checkpoint: Path) -> None:
    for folder in (causal_lm_checkpoint, classifier_checkpoint):
        checkpoint = loaded(folder)
        assert float32_islands(checkpoint, lambda: pytest.fail("nothing to widen")) == {}
        assert {parameter.dtype for parameter in checkpoint.model.parameters()} == {torch.float16}


def test_a_stream_beyond_the_range_stays_float32_up_to_each_norm(tmp_path: Path) -> None:
    checkpoint = loaded(scale(tiny("llama", tmp_path), STREAM))
    islands = float32_islands(checkpoint, lambda: loaded(tmp_path, "float32").model)
    assert {"model.layers.1.input_layernorm", "model.layers.1.post_attention_layernorm", "model.norm"} <= set(islands)
    with torch.no_grad():
        assert difference(checkpoint, tmp_path, torch.arange(20)[None]) < 0.03


def test_islands_of_a_post_norm_encoder_end_at_its_norm(tmp_path: Path) -> None:
    factors = {"layer.0.intermediate.dense.weight": 1e3, "layer.0.output.dense.weight": 1e4}
    islands = islands_of(scale(tiny_classifier("bert", tmp_path), factors))
    assert list(islands) == ["bert.encoder.layer.0.output.dense", "bert.encoder.layer.0.output.LayerNorm"]


def test_what_islands_cannot_mend_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"range of float16 in model.layers.0.self_attn.*--fp32") as caught:
        islands_of(scale(tiny("llama", tmp_path), QUERIES))
    assert "\n" not in str(caught.value)
