"""Last products before an output: in 4 bit where their probabilities stay, and alike in all graphs of a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir
import pytest

from exporter.quantization.four_bit import quantize_4_bit
from exporter.quantization.heads import DIVERGENCE, divergence
from exporter.quantization.heads import TIED as TIED_LIMIT
from exporter.quantization.plan import Report
from exporter.quantization.probe import GraphProbe
from exporter.quantization.request import Request, Settings
from exporter.quantization.sites import find_sites
from exporter.save import DATA_FILE, save_graphs
from tests.unit.exporter.graphs import build, ops, run

DEPTH, WORDS = 256, 1200
RANDOM = np.random.default_rng(5)
HEAD = RANDOM.normal(size=(WORDS, DEPTH)).astype(np.float32)
X = RANDOM.normal(size=(40, DEPTH)).astype(np.float32)
IDS = np.array([[0, WORDS - 1]])
UNTIED = "(float[r, 256] x) => (float[r, 1200] y) { y = Gemm <transB = 1> (x, w) }"
TIED = """(int64[b, s] ids, float[r, 256] x) => (float[b, s, 256] e, float[r, 1200] y) {
    e = Gather(w, ids)  y = Gemm <transB = 1> (x, w) }"""
# Of the weights: how far apart the logits lie, and with its square what 4 bit cost.
LONG, SHORT, NEITHER = 0.042, 0.07, 0.2


def quantize(text: str, scale: float, folder: Path, **settings: int) -> tuple[onnx_ir.Model, Report]:
    model = build(text, w=scale * HEAD * (TIED_LIMIT**0.5 if text == TIED else 1))
    feeds = {"x": X} | ({"ids": IDS} if "ids" in text else {})
    probe = GraphProbe({"model": [feeds]}, folder)
    return model, quantize_4_bit({"model": model}, Request(settings=Settings(**settings), probe=probe))


def block(model: onnx_ir.Model) -> tuple[int, int]:
    """Bits and size of blocks of the product."""
    [node] = [node for node in model.graph if node.op_type == "MatMulNBits"]
    return node.attributes.get_int("bits"), node.attributes.get_int("block_size")


@pytest.mark.parametrize("text", [UNTIED, TIED])
@pytest.mark.parametrize(("scale", "expected"), [(LONG, (4, 128)), (SHORT, (4, 32)), (NEITHER, (8, 128))])
def test_kept_by_what_happens_to_the_probabilities(
    text: str, scale: float, expected: tuple[int, int], tmp_path: Path
) -> None:
    model, report = quantize(text, scale, tmp_path)
    assert block(model) == expected
    assert report.weights == {f"{expected[0]} bit": HEAD.size, "float": 0}
    reasons = list(report.kept.values())
    assert len(reasons) == (scale > LONG)
    assert all("move the probabilities" in reason for reason in reasons)
    bits = {node.attributes.get_int("bits") for node in model.graph}
    assert bits == {expected[0]}  # the embeddings too


def test_what_is_measured_is_the_divergence_of_the_graphs(tmp_path: Path) -> None:
    """But for the 8 bits that activations are rounded to within the kernel."""
    exact = build(UNTIED, w=SHORT * HEAD)
    [site] = find_sites(exact.graph)
    measured = divergence(site, X, 32, symmetric=False)
    rough, _ = quantize(UNTIED, SHORT, tmp_path)
    before, after = (probabilities(run(model, x=X)[0]) for model in (exact, rough))
    found = float((before * np.log(before / after)).sum(-1).mean())
    assert found == pytest.approx(measured, rel=0.05)
    assert found < DIVERGENCE


def probabilities(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def test_a_bias_counts() -> None:
    """A word that is certain anyway stays certain."""
    bias = np.zeros(WORDS, np.float32)
    bias[7] = 50
    model = build("(float[r, 256] x) => (float[r, 1200] y) { y = Gemm <transB = 1> (x, w, c) }", w=HEAD * 0.2, c=bias)
    [site] = find_sites(model.graph)
    assert divergence(site, X, 128, symmetric=False) < 1e-6


def test_asked_for_bits_are_given(tmp_path: Path) -> None:
    assert block(quantize(UNTIED, LONG, tmp_path, embedding_bits=8)[0]) == (8, 128)
    assert block(quantize(TIED, NEITHER, tmp_path, embedding_bits=4)[0]) == (4, 128)
    assert block(quantize(TIED, LONG, tmp_path, block_size=64)[0]) == (4, 64)
    assert block(quantize(TIED, SHORT, tmp_path, block_size=128)[0]) == (8, 128)


def test_narrow_heads_and_unknown_inputs_get_eight_bits() -> None:
    narrow = build(UNTIED.replace("1200", "96"), w=LONG * HEAD[:96])
    for model in (narrow, build(UNTIED, w=LONG * HEAD)):
        report = quantize_4_bit({"model": model}, Request())
        assert block(model) == (8, 128)
        assert report.kept == {"w": "the last product before an output"}


@pytest.mark.parametrize("order", [("prefill", "decode"), ("decode", "prefill")])
def test_graphs_of_a_bundle_keep_a_weight_alike(order: tuple[str, str], tmp_path: Path) -> None:
    """One that cannot be probed follows one that was; the numbers are stored once."""
    models = {name: build(TIED, w=0.7 * LONG * HEAD) for name in order}
    models["decode"].graph.initializers["w"].name = "another_name"
    probe = GraphProbe({"prefill": [{"x": X, "ids": IDS}]}, tmp_path)
    quantize_4_bit(models, Request(probe=probe))
    assert {name: block(model) for name, model in models.items()} == dict.fromkeys(order, (4, 128))
    assert ops(models["decode"]) == ["GatherBlockQuantized", "MatMulNBits"]
    save_graphs(models, tmp_path)
    codes, scales = HEAD.size // 2, 4 * HEAD.size // 128
    assert codes + scales <= (tmp_path / DATA_FILE).stat().st_size < 1.2 * (codes + scales)
