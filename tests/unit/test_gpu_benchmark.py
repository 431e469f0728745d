"""`benchmarks.gpu`: what it asks for, what it makes of answers and failures, every measured side on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import gpu, gpu_sides
from benchmarks.gpu_models import REAL_SIZES, TINY, tiny_vit

FIGURES: dict[str, dict[str, Any]] = {
    "build": {},
    "export": {"export_mb": 100.0},
    "validate": {"checks": 3, "failed": ["numerics, whole texts: off by 2"], "figures": {}},
    "decode": {"step_ms": 2.0, "first_ms": 7.5, "cache_mb": 50.0, "prefill_runs": 3},
    "decode_torch": {"step_ms": 4.0, "first_ms": 9.0},
    "encode": {"ms": 10.0},
    "encode_torch": {"ms": 5.0},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Steps and their arguments; int8 cannot be exported, and four rows at a time do not fit."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def run(measurement: str, **arguments: Any) -> dict[str, Any]:
        step = measurement.removeprefix("benchmarks.gpu_sides:")
        assert hasattr(gpu_sides, step)
        calls.append((step, arguments))
        if arguments.get("precision") == "int8" or (step == "decode" and arguments["batch"] == 4):
            raise RuntimeError(f"{measurement} failed:\nTraceback\nRuntimeError: out of memory in /home/me/x.so")
        return FIGURES[step]

    monkeypatch.setattr(gpu, "run", run)
    return calls


def test_the_table_and_the_figures(asked: list[tuple[str, dict[str, Any]]], tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    options = ["--provider", "cpu", "--tiny", "--compile", "--bandwidth", "4.3", "--out", str(out)]
    done = CliRunner().invoke(gpu.main, options, catch_exceptions=False)
    lines = done.stdout.splitlines()
    assert "tiny_gpt2 int8: export: RuntimeError: out of memory in x.so" in lines
    assert "tiny_gpt2 fp16: 2 of 3 checks passed; numerics, whole texts: off by 2" in lines
    # 500 tokens per second at batch 1; 4.3e12 bytes a second over 100 MiB of weights and 50 MiB of cache, 5/6 full.
    assert "| GPT-2, 2 layers | fp16 | 1 | 500 | 250 (2.00×) | 250 (2.00×) | 28947 | 7.5 |" in lines
    assert "| GPT-2, 2 layers | fp16 | 4 | – | 1000 | 1000 | – | – |" in lines
    assert "| ViT, 2 layers | fp16 | 4 | 400 | 800 (0.50×) | 800 (0.50×) | – | – |" in lines
    found = json.loads(out.read_text())
    assert found["figures"]["tiny_gpt2 fp16, batch 1"] == FIGURES["decode"]
    assert len(found["rows"]) == 2 + 2 and found["environment"]["prompt"] == 128
    assert {arguments["provider"] for _, arguments in asked if "provider" in arguments} == {"cpu"}
    assert {arguments["device"] for step, arguments in asked if step == "export"} == {"cpu"}


def test_models_can_be_chosen(asked: list[tuple[str, dict[str, Any]]]) -> None:
    CliRunner().invoke(gpu.main, ["--provider", "cpu", "--tiny", "--only", "tiny_vit"], catch_exceptions=False)
    assert {arguments["name"] for step, arguments in asked if step == "build"} == {"tiny_vit"}
    done = CliRunner().invoke(gpu.main, ["--tiny", "--provider", "cpu", "--only", "gpt5"])
    assert done.exit_code == 2 and "no model gpt5: there are tiny_gpt2, tiny_vit" in done.output
    assert {model.task for model in REAL_SIZES.values()} >= {model.task for model in TINY.values()}


def test_the_sides_of_a_generator(causal_lm_bundle: Path, causal_lm_checkpoint: Path) -> None:
    asked: dict[str, Any] = {"provider": "cpu", "prompt": 16, "new": 4, "batch": 2}
    ours = gpu_sides.decode(str(causal_lm_bundle), **asked)
    theirs = gpu_sides.decode_torch(str(causal_lm_checkpoint), dtype="float16", **asked)
    assert ours.keys() == theirs.keys() | {"cache_mb", "prefill_runs"} and ours["prefill_runs"] == 1 + 2 * 3
    assert min(ours["first_ms"], theirs["first_ms"], ours["cache_mb"]) > 0


def test_the_sides_of_an_encoder(classifier_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BERT's bundle is asked, and a ViT by torch; what both are given has the sizes that they take."""
    monkeypatch.setattr("benchmarks.encoder_protocol.SECONDS", 0.05)
    monkeypatch.setattr(gpu_sides, "TEXT_LENGTH", 32)
    assert gpu_sides.encode(str(classifier_bundle), "cpu", 2)["ms"] > 0
    checkpoint = str(tiny_vit(tmp_path))
    assert gpu_sides.encode_torch(checkpoint, "cpu", "float16", 2, "image-classification")["ms"] > 0
