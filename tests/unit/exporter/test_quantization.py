"""Quantised graphs: close answers, few nodes, each weight once, and nothing quantised that should not be."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime as ort
import pytest

from exporter.quantization.activations import choose
from exporter.quantization.blocks import Blocks, fill_up, fitting_size, long_size
from exporter.quantization.channels import quantize_columns
from exporter.quantization.four_bit import quantize_4_bit
from exporter.quantization.gptq import quantize_gptq
from exporter.quantization.hqq import quantize_hqq
from exporter.quantization.integer import quantize_8_bit
from exporter.quantization.probe import GraphProbe
from exporter.quantization.request import Request, Settings
from exporter.quantization.rtn import quantize_rtn
from exporter.quantization.sites import find_sites, find_tables
from exporter.save import DATA_FILE, save_graphs
from runtime.errors import ExportError
from runtime.session import session_options
from tests.unit.exporter.graphs import build, ops, relative, run

RANDOM = np.random.default_rng(0)
DEPTH, COLUMNS = 128, 96
WEIGHT = RANDOM.standard_t(4, (DEPTH, COLUMNS)).astype(np.float32)
BIAS = RANDOM.normal(size=COLUMNS).astype(np.float32)
BELL = np.random.default_rng(1).normal(size=(DEPTH, COLUMNS)).astype(np.float32)
X = RANDOM.normal(size=(3, 5, DEPTH)).astype(np.float32)
CUDA, CPU = Request("cuda"), Request("cpu")


# ---- the numbers


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_searched_scales_beat_the_largest_value(size: int, symmetric: bool) -> None:
    found = quantize_rtn(WEIGHT.T, 4, size, symmetric)
    assert (found.zero_points is None) == symmetric
    assert found.codes.max() <= 15
    blocks = fill_up(WEIGHT.T, size)
    scales = np.abs(blocks).max(-1, keepdims=True) / 7
    plain = (np.clip(np.round(blocks / scales), -7, 7) * scales).reshape(COLUMNS, DEPTH)
    assert relative(WEIGHT.T, found.dequantized()) < 0.95 * relative(WEIGHT.T, plain)


def test_asymmetric_blocks_follow_weights_that_lie_to_one_side() -> None:
    weight = np.abs(WEIGHT.T)
    error = {symmetric: relative(weight, quantize_rtn(weight, 4, 32, symmetric).dequantized()) for symmetric in (0, 1)}
    assert error[0] < 0.8 * error[1]


def test_eight_bits_are_a_small_error() -> None:
    assert relative(WEIGHT.T, quantize_rtn(WEIGHT.T, 8, 128).dequantized()) < 0.015
    codes, scales = quantize_columns(WEIGHT)
    assert codes.dtype == np.int8
    assert relative(WEIGHT, codes * scales) < 0.015


@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_stay_zeros(symmetric: bool) -> None:
    zeros = np.zeros((4, 64), np.float32)
    assert not quantize_rtn(zeros, 4, 32, symmetric).dequantized().any()
    codes, scales = quantize_columns(zeros)
    assert not codes.any()
    assert not scales.any()


def test_depths_that_fill_no_block() -> None:
    found = quantize_rtn(WEIGHT.T[:, :40], 4, 32)
    assert found.codes.shape == (COLUMNS, 2, 32)
    assert found.dequantized().shape == (COLUMNS, 40)
    assert relative(WEIGHT.T[:, :40], found.dequantized()) < 0.2


def test_packing() -> None:
    codes = np.arange(16, dtype=np.uint8).reshape(1, 1, 16)
    blocks = Blocks(codes, np.ones((1, 1), np.float32), np.full((1, 1), 3, np.uint8), 4, 16)
    assert blocks.packed_codes().tolist() == [[[0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE]]]
    assert (blocks.packed_zero_points() == 3).all()
    np.testing.assert_array_equal(blocks.dequantized()[0], np.arange(16) - 3)


def test_sizes_that_divide() -> None:
    assert [fitting_size(depth, 128) for depth in (768, 896, 96, 48, 40)] == [128, 128, 32, 16, None]


# ---- the graphs

LINEAR = "(float[b, s, 128] x) => (float[b, s, 96] y) { p = MatMul(x, w)  y = Add(p, c) }"
GEMM = "(float[r, 128] x) => (float[r, 96] y) { y = Gemm(x, w, c) }"
SHARED = """(float[b, s, 128] x) => (float[b, s, 96] p, float[b, s, 96] q, float[b, s, 96] r) {
    p = MatMul(x, w)  q0 = MatMul(x, v)  q = Add(c, q0)  z = Neg(x)  r = MatMul(z, v) }"""
TIED = """(int64[b, s] ids, float[r, 128] x) => (float[b, s, 128] e, float[r, 96] y) {
    e = Gather(w, ids)  y = Gemm <transB = 1> (x, w) }"""


@pytest.mark.parametrize(("request_", "op"), [(CPU, "DynamicQuantizeMatMul"), (CUDA, "MatMulNBits")])
@pytest.mark.parametrize(("text", "x"), [(LINEAR, X), (GEMM, X[0])])
def test_products_with_a_bias_become_one_node(text: str, x: np.ndarray, request_: Request, op: str) -> None:
    model = build(text, w=WEIGHT, c=BIAS)
    [expected] = run(model, x=x)
    report = quantize_8_bit({"model": model}, request_)
    assert ops(model) == [op]
    assert relative(expected, run(model, x=x)[0]) < 0.03
    assert report.weights == {"8 bit": WEIGHT.size, "float": BIAS.size}
    assert set(model.graph.initializers) & {"w"} == set()


def test_products_of_one_activation_share_its_quantisation() -> None:
    model = build(SHARED, w=WEIGHT, v=2 * WEIGHT[::-1].copy(), c=BIAS)
    expected = run(model, x=X)
    quantize_8_bit({"model": model}, CPU)
    assert sorted(ops(model)) == [
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat",
        "MatMulIntegerToFloat",
        "Neg",
    ]
    for before, after in zip(expected, run(model, x=X), strict=True):
        assert relative(before, after) < 0.03


def test_a_weight_of_two_products_is_stored_once(tmp_path: Path) -> None:
    """Under a name for each: where int8 has to be made exact, ONNX Runtime loads nothing else."""
    model = build(SHARED, w=WEIGHT, v=2 * WEIGHT[::-1].copy(), c=BIAS)
    quantize_8_bit({"model": model}, CPU)
    assert [name for name in model.graph.initializers if "int8" in name and "scale" not in name] == [
        "w.int8",
        "v.int8",
        "v.int8.2",
    ]
    expected = run(model, x=X)
    save_graphs({"model": model}, tmp_path)
    assert 2 * WEIGHT.size <= (tmp_path / DATA_FILE).stat().st_size < 3 * WEIGHT.size
    options = session_options(1, spinning=False, between_runs=False)
    options.add_session_config_entry("session.x64quantprecision", "1")
    found = ort.InferenceSession(str(tmp_path / "model.onnx"), options).run(None, {"x": X})
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_four_bits(size: int, symmetric: bool) -> None:
    inner = "(float[b, s, 128] x) => (float[b, s, 96] y) { p = MatMul(x, w)  q = Add(p, c)  y = Relu(q) }"
    model = build(inner, w=WEIGHT, c=BIAS)
    [expected] = run(model, x=X)
    report = quantize_4_bit({"model": model}, Request("cpu", Settings(size, symmetric)))
    assert ops(model) == ["MatMulNBits", "Relu"]
    assert report.weights["4 bit"] == WEIGHT.size
    assert relative(expected, run(model, x=X)[0]) < 0.2


def test_the_last_product_stays_in_eight_bits() -> None:
    model = build(LINEAR, w=WEIGHT, c=BIAS)
    report = quantize_4_bit({"model": model}, CPU)
    assert report.weights["8 bit"] == WEIGHT.size
    assert report.kept == {"w": "the last product before an output"}


@pytest.mark.parametrize("quantize", [quantize_8_bit, quantize_4_bit])
def test_tied_tables_are_stored_once(quantize: object, tmp_path: Path) -> None:
    table = RANDOM.normal(size=(96, 128)).astype(np.float32)
    model = build(TIED, w=table)
    inputs = {"ids": np.array([[0, 95, 7]]), "x": X[0]}
    expected = run(model, **inputs)
    assert quantize({"model": model}, CPU).weights["8 bit"] == table.size if callable(quantize) else False
    assert ops(model) == ["GatherBlockQuantized", "MatMulNBits"]
    for before, after in zip(expected, run(model, **inputs), strict=True):
        assert relative(before, after) < 0.02
    save_graphs({"model": model}, tmp_path)
    assert (tmp_path / DATA_FILE).stat().st_size == table.size  # and its scales, below the threshold, in the graph


@pytest.mark.parametrize("symmetric", [True, False])
def test_tied_tables_in_four_bits(symmetric: bool, tmp_path: Path) -> None:
    """The row that is looked up and the matrix that is multiplied are the same numbers, stored once."""
    table = np.random.default_rng(2).normal(size=(96, 256)).astype(np.float32)
    model = build(TIED.replace("128", "256"), w=table)
    inputs = {"ids": np.array([[0, 95, 7]]), "x": np.tile(X[0], 2)}
    expected = run(model, **inputs)
    report = quantize_4_bit({"model": model}, Request(settings=Settings(symmetric=symmetric, embedding_bits=4)))
    assert (report.weights["4 bit"], report.kept) == (table.size, {})
    assert ops(model) == ["GatherBlockQuantized", "MatMulNBits"]
    for before, after in zip(expected, run(model, **inputs), strict=True):
        assert relative(before, after) < 0.2
    save_graphs({"model": model}, tmp_path)
    assert (tmp_path / DATA_FILE).stat().st_size == table.size // 2


def test_the_last_product_in_four_bits() -> None:
    model = build(LINEAR, w=BELL, c=BIAS)
    report = quantize_4_bit({"model": model}, Request(settings=Settings(embedding_bits=4)))
    assert (report.weights["4 bit"], report.kept) == (BELL.size, {})


def test_weights_alone_in_eight_bits_on_a_cpu() -> None:
    """Each row has scales of its own: no answer depends on its neighbours."""
    model = build(LINEAR, w=WEIGHT, c=BIAS)
    report = quantize_8_bit({"model": model}, Request(settings=Settings(int8_method="weights"), calibrated=True))
    assert ops(model) == ["MatMulNBits"]
    assert report.scheme.startswith("weight-only 8 bit")
    assert "--int8-method weights" in report.notes[0]
    loud = np.concatenate([X[:1], 100 * X[1:2]])
    np.testing.assert_allclose(run(model, x=X[:1])[0], run(model, x=loud)[0][:1], rtol=1e-4)


def test_tables_whose_width_fits_no_block_stay_and_their_products_do_not() -> None:
    table = RANDOM.normal(size=(200, 40)).astype(np.float32)
    text = TIED.replace("128", "40").replace("96", "200")
    model = build(text, w=table)
    inputs = {"ids": np.array([[0, 199]]), "x": X[0, :, :40]}
    expected = run(model, **inputs)
    report = quantize_8_bit({"model": model}, CPU)
    assert ops(model) == ["Gather", "DynamicQuantizeMatMul"]
    assert "stays float" in report.notes[0]
    for before, after in zip(expected, run(model, **inputs), strict=True):
        assert relative(before, after) < 0.02


def test_half_precision_weights() -> None:
    model = build(LINEAR.replace("float[", "float16["), w=WEIGHT.astype(np.float16), c=BIAS.astype(np.float16))
    x = X.astype(np.float16)
    [expected] = run(model, x=x)
    quantize_8_bit({"model": model}, CUDA)
    [found] = run(model, x=x)
    assert found.dtype == np.float16
    assert relative(expected.astype(np.float32), found.astype(np.float32)) < 0.03


@pytest.mark.parametrize(
    "text",
    [
        "(float[s, 128] x, float[128, 96] w) => (float[s, 96] y) { y = MatMul(x, w) }",  # no constant
        "(float[128, s] x) => (float[s, 96] y) { y = Gemm <transA = 1> (x, w) }",
        "(float[s, 128] x) => (float[s, 96] y) { y = Gemm <alpha = 0.5> (x, w) }",
        "(float[96, s] x) => (float[128, s] y) { y = MatMul(w, x) }",  # on the left
    ],
)
def test_other_products_are_left_alone(text: str) -> None:
    model = build(text, **({} if "w) =>" in text else {"w": WEIGHT}))
    assert find_sites(model.graph) == []
    with pytest.raises(ExportError, match=r"nothing in this model can be stored as int8.*--fp32 or --fp16"):
        quantize_8_bit({"model": model}, CPU)
    with pytest.raises(ExportError, match="nothing in this model can be stored as int4"):
        quantize_4_bit({"model": model}, CPU)


def test_small_matrices_and_small_tables_are_left_alone() -> None:
    text = """(int64[s] ids, float[s, 128] x) => (float[s, 2] y, float[s, 128] e) {
        y = MatMul(x, h)  e = Gather(t, ids) }"""
    model = build(text, h=WEIGHT[:, :2].copy(), t=WEIGHT.T.copy())
    assert find_sites(model.graph) == []
    assert find_tables(model.graph, []) == []


def test_weights_are_computed_when_they_are_written_and_not_before() -> None:
    model = build(LINEAR, w=WEIGHT, c=BIAS)
    asked = []
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None

    def load() -> onnx_ir.TensorProtocol:
        asked.append("w")
        return tensor

    model.graph.initializers["w"].const_value = onnx_ir.LazyTensor(load, tensor.dtype, tensor.shape, name="w")
    quantize_8_bit({"model": model}, CPU)
    assert asked == []
    run(model, x=X)
    assert asked == ["w"]


# ---- methods


def outputs_lost(weight: np.ndarray, blocks: Blocks, inputs: np.ndarray) -> float:
    return relative(inputs @ weight.T, inputs @ blocks.dequantized().T)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [32, 128])
def test_gptq_loses_less_on_its_inputs(size: int, symmetric: bool) -> None:
    """Inputs that hang together, as a model's do, let the error of a weight be made up for by others."""
    mixed = RANDOM.normal(size=(600, 20)) @ RANDOM.normal(size=(20, DEPTH)) + 0.1 * RANDOM.normal(size=(600, DEPTH))
    inputs = mixed.astype(np.float32)
    rounded = outputs_lost(WEIGHT.T, quantize_rtn(WEIGHT.T, 4, size, symmetric), inputs)
    learned = quantize_gptq(WEIGHT.T, inputs[:400], size, symmetric)
    assert (learned.zero_points is None) == symmetric
    assert outputs_lost(WEIGHT.T, learned, inputs[400:]) < 0.7 * rounded


def test_gptq_on_a_depth_that_fills_no_block_and_inputs_that_never_occur() -> None:
    inputs = RANDOM.normal(size=(50, 40)).astype(np.float32)
    inputs[:, 7] = 0
    found = quantize_gptq(WEIGHT.T[:, :40], inputs, 32, True)
    assert found.dequantized().shape == (COLUMNS, 40)
    assert outputs_lost(WEIGHT.T[:, :40], found, inputs) < 0.1


def test_hqq_lets_outliers_stand() -> None:
    """Most weights come out closer than under the range of the largest one."""
    weight = RANDOM.standard_t(2, (COLUMNS, DEPTH)).astype(np.float32)
    found = quantize_hqq(weight, 128)
    assert found.zero_points is not None
    low, high = weight.min(1, keepdims=True), weight.max(1, keepdims=True)
    scale = (high - low) / 15
    plain = (np.clip(np.round(weight / scale) + np.round(-low / scale), 0, 15) - np.round(-low / scale)) * scale
    typical = [float(np.median(np.abs(values - weight))) for values in (found.dequantized(), plain)]
    assert typical[0] < typical[1]


def test_weights_that_lose_too_much_stay_in_eight_bits() -> None:
    """One input that is 300 times as large as the others meets weights that 4 bits round to nothing."""
    good, bad = np.tile(BELL, 2), BELL[:, :32].copy()
    bad[3] = 0.02 * np.sign(bad[3])
    text = """(float[s, 128] x, float[s, 128] z) => (float[s, 192] y, float[s, 32] w) {
        p = MatMul(x, good)  q = MatMul(z, bad)  y = Relu(p)  w = Relu(q) }"""
    model = build(text, good=good, bad=bad)
    x, z = (RANDOM.normal(size=(64, 128)).astype(np.float32) for _ in range(2))
    z[:, 3] *= 300
    probe = GraphProbe({"model": [{"x": x, "z": z}]}, Path("/tmp"))
    report = quantize_4_bit({"model": model}, Request(probe=probe, settings=Settings()))
    assert list(report.kept) == ["bad"]
    assert "of its output on probe inputs" in report.kept["bad"]
    assert report.weights == {"4 bit": good.size, "8 bit": bad.size, "float": 0}


def test_blocks_are_short_where_long_ones_lose_too_much() -> None:
    """A weight with a few large numbers needs short blocks; nobody chooses when the user has."""
    sharp = BELL.copy()
    sharp[5] *= 12
    text = """(float[s, 128] x, float[s, 128] z) => (float[s, 96] y, float[s, 96] w) {
        p = MatMul(x, smooth)  q = MatMul(z, sharp)  y = Relu(p)  w = Relu(q) }"""
    inputs = {"x": X[0], "z": X[1]}
    for wanted, sizes in ((None, [128, 32]), (64, [64, 64])):
        model = build(text, smooth=BELL, sharp=sharp)
        probe = GraphProbe({"model": [inputs]}, Path(tempfile.gettempdir()))
        report = quantize_4_bit({"model": model}, Request(probe=probe, settings=Settings(block_size=wanted)))
        products = [node for node in model.graph if node.op_type == "MatMulNBits"]
        assert [node.attributes["block_size"].as_int() for node in products] == sizes
        assert list(report.kept) == ([] if wanted else ["sharp"])
    assert Settings().block_size is None


def test_long_blocks_are_only_taken_where_they_are_full() -> None:
    assert [long_size(depth) for depth in (768, 128, 320, 96, 40)] == [128, 128, 64, 32, 32]


def test_without_a_probe_the_weights_alone_are_judged() -> None:
    model = build("(float[s, 128] x) => (float[s, 96] y) { p = MatMul(x, w)  y = Relu(p) }", w=BELL)
    assert quantize_4_bit({"model": model}, Request()).kept == {}


# ---- activations with fixed scales


def calibrated(*rows: dict[str, np.ndarray]) -> Request:
    return Request("cpu", probe=GraphProbe({"model": list(rows)}, Path(tempfile.gettempdir())), calibrated=True)


def test_with_calibration_data_an_answer_does_not_depend_on_its_neighbours() -> None:
    """A row a hundred times as large takes the codes of the others where scales are made as rows come."""
    row, loud = X[:1], np.concatenate([X[:1], 100 * X[1:2]])
    same = {}
    for name, request in (("fixed", calibrated({"x": X}, {"x": X[::-1].copy()})), ("dynamic", CPU)):
        model = build(SHARED, w=WEIGHT, v=2 * WEIGHT[::-1].copy(), c=BIAS)
        expected = run(model, x=row)
        report = quantize_8_bit({"model": model}, request)
        alone, beside = run(model, x=row), run(model, x=loud)
        same[name] = all(np.array_equal(one, other[:1]) for one, other in zip(alone, beside, strict=True))
        assert all(relative(before, after) < 0.03 for before, after in zip(expected, alone, strict=True))
        if name == "fixed":
            assert Counter(ops(model)) == {"QuantizeLinear": 2, "MatMulIntegerToFloat": 3, "Neg": 1}
            assert report.scheme.startswith("static int8")
            assert "kept" not in report.as_json()
    assert same == {"fixed": True, "dynamic": False}


def dead_input(values: float, every: int) -> tuple[onnx_ir.Model, np.ndarray]:
    """A product that does not read its first input, which is large in one row of `every`."""
    weight, x = WEIGHT.copy(), RANDOM.normal(size=(1, 512, DEPTH)).astype(np.float32)
    weight[0], x[0, ::every, 0] = 0, values
    return build(LINEAR, w=weight, c=BIAS), x


def test_a_range_is_cut_off_where_that_loses_less() -> None:
    model, x = dead_input(30, 1)
    choice = choose("model", model, find_sites(model.graph), calibrated({"x": x}))
    assert choice is not None
    [scale] = choice.fixed.values()
    assert float(scale.scale) < 0.4 * 34 / 255
    [expected] = run(model, x=x)
    quantize_8_bit({"model": model}, calibrated({"x": x}))
    assert relative(expected, run(model, x=x)[0]) < 0.02


@pytest.mark.parametrize(
    ("every", "reason", "operators"),
    [
        (256, "dynamic: a fixed range loses more than 1 % of its output", ["DynamicQuantizeMatMul"]),
        (1, "float: 8-bit activations lose 100.0% of its output on the calibration data", ["MatMul", "Add"]),
    ],
)
def test_products_that_no_fixed_range_suits(every: int, reason: str, operators: list[str]) -> None:
    """A number that says nothing takes all the codes: in some rows, or in all of them."""
    model, x = dead_input(1e4, every)
    report = quantize_8_bit({"model": model}, calibrated({"x": x}))
    assert report.kept == {"w": reason}
    assert ops(model) == operators
    assert report.weights["8 bit"] == (0 if every == 1 else WEIGHT.size)


def test_what_calibration_data_cannot_do_is_said() -> None:
    model = build(LINEAR, w=WEIGHT, c=BIAS)
    report = quantize_8_bit({"model": model}, Request("cpu", probe=GraphProbe({}, Path("/tmp")), calibrated=True))
    assert report.notes == ["graph model cannot be run alone on the calibration data: its products stay dynamic"]
    assert ops(model) == ["DynamicQuantizeMatMul"]
    report = quantize_8_bit({"model": build(LINEAR, w=WEIGHT, c=BIAS)}, Request("cuda", calibrated=True))
    assert "calibration data changed nothing" in report.notes[0]


# ---- convolutions

RESIDUAL = """(float[b, 8, 10, 10] x) => (float[b, 16, 10, 10] y, float[b, 16, 10, 10] z) {
    a = Conv <pads = [1, 1, 1, 1]> (x, v, c)  r = Relu(a)
    d = Conv <pads = [1, 1, 1, 1]> (r, w)  s = Add(d, r)  y = Relu(s)
    z = Conv <pads = [1, 1, 1, 1]> (y, w, c) }"""


def test_convolutions_become_integer_ones() -> None:
    weights = {
        "v": RANDOM.normal(size=(16, 8, 3, 3)).astype(np.float32) / 8,
        "w": RANDOM.normal(size=(16, 16, 3, 3)).astype(np.float32) / 12,
        "c": RANDOM.normal(size=16).astype(np.float32),
    }
    model = build(RESIDUAL, **weights)
    images = [{"x": RANDOM.normal(size=(1, 8, 10, 10)).astype(np.float32)} for _ in range(8)]
    expected = run(model, **images[0])
    probe = GraphProbe({"model": images}, Path("/tmp"))
    report = quantize_8_bit({"model": model}, Request("cpu", probe=probe, calibrated=True))
    assert "Relu" not in ops(model)
    assert report.settings["convolutions"].startswith("static int8")
    for before, after in zip(expected, run(model, **images[0]), strict=True):
        assert relative(before, after) < 0.03
    assert fused(model)["QLinearConv"] == 3
    assert fused(model)["QLinearAdd"] == 1
    assert "Conv" not in fused(model)


def fused(model: onnx_ir.Model) -> Counter[str]:
    """Operators that ONNX Runtime makes of a graph."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/optimised.onnx"
        ort.InferenceSession(onnx_ir.serde.serialize_model(model).SerializeToString(), options)
        return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def test_convolutions_stay_without_calibration() -> None:
    text = "(float[b, 8, 9, 9] x) => (float[b, 16, 7, 7] y) { y = Conv(x, v) }"
    model = build(text, v=RANDOM.normal(size=(16, 8, 3, 3)).astype(np.float32))
    with pytest.raises(ExportError, match="convolutions need --int8 with --calibration-data"):
        quantize_8_bit({"model": model}, CPU)
