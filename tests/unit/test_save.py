"""Writing graphs: each weight once, where it can be memory-mapped, and the same answers after reading them back."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime as ort
import pytest

from exporter import save
from exporter.save import DATA_FILE, PAGE, THRESHOLD, save_graphs
from runtime.bundle import TensorSpec

RANDOM = np.random.default_rng(0)
A = RANDOM.normal(size=(40, 40)).astype(np.float32)
B = RANDOM.normal(size=(40, 40)).astype(np.float32)


def build(text: str, **weights: np.ndarray) -> onnx_ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> g {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return onnx_ir.serde.deserialize_model(proto)


def product(**weights: np.ndarray) -> onnx_ir.Model:
    """x @ first @ second @ ..."""
    chain = "  ".join(f"v{i} = MatMul({'x' if i == 0 else f'v{i - 1}'}, {name})" for i, name in enumerate(weights))
    return build(f"(float[n, 40] x) => (float[n, 40] y) {{ {chain}  y = Identity(v{len(weights) - 1}) }}", **weights)


def answer(path: Path, **inputs: np.ndarray) -> np.ndarray:
    found: np.ndarray = ort.InferenceSession(str(path)).run(None, inputs)[0]
    return found


def places(path: Path) -> dict[str, tuple[int, int]]:
    """Initializer -> (offset, length) in the data file."""
    found = {}
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            facts = {entry.key: entry.value for entry in tensor.external_data}
            assert facts["location"] == DATA_FILE
            found[tensor.name] = (int(facts["offset"]), int(facts["length"]))
    return found


def test_equal_weights_are_stored_once(tmp_path: Path) -> None:
    save_graphs({"model": product(a=A, b=B, c=A.copy())}, tmp_path)
    stored = places(tmp_path / "model.onnx")
    assert stored["a"] == stored["c"] != stored["b"]
    assert (tmp_path / DATA_FILE).stat().st_size == 2 * PAGE + B.nbytes  # the first one padded to a page boundary
    x = np.ones((2, 40), np.float32)
    np.testing.assert_allclose(answer(tmp_path / "model.onnx", x=x), x @ A @ B @ A, atol=1e-2)


def test_graphs_share_the_file(tmp_path: Path) -> None:
    specs = save_graphs({"prefill": product(a=A, b=B), "decode": product(b=B)}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decode.onnx", DATA_FILE, "prefill.onnx"]
    assert places(tmp_path / "prefill.onnx")["b"] == places(tmp_path / "decode.onnx")["b"]
    x = np.ones((1, 40), np.float32)
    np.testing.assert_allclose(answer(tmp_path / "decode.onnx", x=x), x @ B, rtol=1e-4)
    assert [spec.file for spec in specs.values()] == ["prefill.onnx", "decode.onnx"]


def test_equal_bytes_of_another_type_are_kept_apart_those_of_another_shape_are_not(tmp_path: Path) -> None:
    zeros = {"f": np.zeros((40, 40), np.float32), "i": np.zeros((40, 40), np.int32), "s": np.zeros(1600, np.float32)}
    outputs = "(float[1] x) => (float[40, 40] p, int32[40, 40] q, float[1600] r)"
    save_graphs(
        {"model": build(f"{outputs} {{ p = Identity(f)  q = Identity(i)  r = Identity(s) }}", **zeros)}, tmp_path
    )
    stored = places(tmp_path / "model.onnx")
    assert stored["f"] == stored["s"] != stored["i"]


def test_offsets_are_on_page_boundaries(tmp_path: Path) -> None:
    weights = {f"w{i}": RANDOM.normal(size=(40, 40)).astype(np.float32) for i in range(5)}
    save_graphs({"model": product(**weights)}, tmp_path)
    stored = places(tmp_path / "model.onnx")
    assert [offset % PAGE for offset, _ in stored.values()] == [0] * 5
    data = (tmp_path / DATA_FILE).read_bytes()
    for name, (offset, length) in stored.items():
        assert data[offset : offset + length] == weights[name].tobytes()


def test_small_tensors_stay_in_the_graph(tmp_path: Path) -> None:
    limit = THRESHOLD // 4
    weights = {"small": np.ones(limit - 1, np.float32), "large": np.ones(limit, np.float32)}
    text = f"(float[1] x) => (float[{limit - 1}] p, float[{limit}] q) {{ p = Identity(small)  q = Identity(large) }}"
    save_graphs({"model": build(text, **weights)}, tmp_path)
    assert list(places(tmp_path / "model.onnx")) == ["large"]


def test_graph_without_weights(tmp_path: Path) -> None:
    save_graphs({"model": build("(float[n] x) => (float[n] y) { y = Neg(x) }")}, tmp_path)
    assert answer(tmp_path / "model.onnx", x=np.ones(1, np.float32)) == [-1]


def test_specs(tmp_path: Path) -> None:
    text = """(int64[batch, sequence] ids, float16[batch, 2, max_length, 8] past, int32 total)
        => (float16[batch, 2, max_length, 8] present, int32 t, int64[batch, sequence] same) {
        present = Neg(past)  u = Neg(total)  t = Neg(u)  same = Identity(ids) }"""
    spec = save_graphs({"model": build(text)}, tmp_path)["model"]
    assert spec.inputs == [
        TensorSpec("ids", "int64", ["batch", "sequence"]),
        TensorSpec("past", "float16", ["batch", 2, "max_length", 8]),
        TensorSpec("total", "int32", []),
    ]
    assert [output.name for output in spec.outputs] == ["present", "t", "same"]
    assert spec.nodes == {"Neg": 3, "Identity": 1}


def test_full_disk_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "DATA_FILE", "/dev/full")
    model: Any = product(a=A)
    with pytest.raises(OSError) as caught:
        save_graphs({"model": model}, tmp_path)
    assert caught.value.errno == errno.ENOSPC
