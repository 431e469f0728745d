"""Exports in several precisions: one bundle each, and what fails leaves nothing behind and the others alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.precision import PRECISIONS
from runtime import pipeline
from runtime.bundle import open_bundle
from tests.integration.command import Onward, assert_refused, tree


def test_several_precisions(
    onward: Onward, classifier_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """int4 is given a budget that it cannot keep."""
    monkeypatch.setitem(PRECISIONS, "int4", replace(PRECISIONS["int4"], error=1e-9))
    done = onward(
        "export",
        classifier_checkpoint,
        "--precision",
        "fp32,int8",
        "--int4",
        "--output",
        tmp_path,
        "--name",
        "s",
        "--json",
    )
    advice = "; try --block-size 32, --int4-embeddings 8, --int4-method gptq --calibration-data FILE or --int8"
    assert_refused(done, "1 of 3 precisions failed: int4: the export does not reproduce the model", advice)
    full, int8, int4 = json.loads(done.out)
    assert (full["name"], int8["name"]) == ("s-fp32", "s-int8")
    assert int8["validation"]["passed"]
    assert int4.keys() == {"precision", "error"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s-fp32", "s-int8"]
    manifest = open_bundle(tmp_path / "s-int8").manifest
    assert manifest.precision == "int8"
    assert manifest.provenance["quantisation"]["weights_percent"]["8 bit"] > 70
    assert manifest.graphs["model"].nodes["DynamicQuantizeMatMul"] > 3
    assert size(tmp_path / "s-int8") < 0.5 * size(tmp_path / "s-fp32")
    assert pipeline(None, tmp_path / "s-int8")("A wonderful film.")[0]["label"] == "POSITIVE"
    assert_side_by_side(tmp_path)


def assert_side_by_side(repository: Path) -> None:
    """Each report tells of the others, and of the precision that failed; the bundles opened with their new hashes."""
    for own, other in (("fp32", "int8"), ("int8", "fp32")):
        folder = repository / f"s-{own}" / "1"
        siblings = json.loads((folder / "report.json").read_text())["siblings"]
        full, int8 = siblings["rows"]
        assert (full["precision"], int8["precision"]) == ("fp32", "int8")
        assert int8["bytes"] < 0.5 * full["bytes"]
        assert full["error"] < int8["error"]
        assert list(full["latency"]) == list(siblings["source"]["latency"]) != []
        assert "does not reproduce the model" in siblings["failed"]["int4"]
        page = (folder / "report.html").read_text()
        assert f'href="../../s-{other}/1/report.html"' in page
        assert f'href="../../s-{own}/' not in page
        assert "int4 was not exported" in page


def size(model: Path) -> int:
    return (model / "1" / "model.onnx.data").stat().st_size


def test_one_precision_keeps_its_name(onward: Onward, small_lm: Path, tmp_path: Path) -> None:
    """A Llama whose embeddings are not tied; with the table of checks left out, its random weights prove nothing."""
    done = onward(
        "export", small_lm, "--int4", "--block-size", "16", "--no-validate", "--output", tmp_path, "--name", "l"
    )
    assert done.code == 0, done.err
    assert "4 bit" in done.err
    found = open_bundle(tmp_path / "l").manifest
    assert found.provenance["quantisation"]["scheme"].startswith(
        "weight-only 4 bit: MatMulNBits, blocks of 16, asymmetric"
    )
    [reason] = found.provenance["quantisation"]["kept"].values()
    assert reason.startswith("the last product before an output: blocks of 16 in 4 bit move the probabilities")
    answer = pipeline(None, tmp_path / "l")("Hello", max_new_tokens=4, do_sample=False)
    assert answer[0]["generated_text"].startswith("Hello")


def test_a_model_of_convolutions_has_nothing_to_quantise(onward: Onward, tmp_path: Path) -> None:
    from tests.checkpoints import TINY_RESNET

    done = onward("export", TINY_RESNET, "--int8", "--no-validate", "--output", tmp_path)
    assert_refused(done, "nothing in this model can be stored as int8", "--calibration-data")
    assert not tree(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "fp16,int5"], "unknown precision 'int5'"),
        (["--precision", ""], "unknown precision ''"),
        (["--bf16"], "cannot run on cpu"),
        (["--int4", "--int4-method", "gptq"], "--calibration-data FILE"),
    ],
)
def test_refused_before_anything_is_loaded(onward: Onward, tmp_path: Path, arguments: list[str], message: str) -> None:
    assert_refused(onward("export", tmp_path / "nothing here", *arguments), message)
