"""Graph passes: the answers stay, only what they are for changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime as ort
import pytest

from exporter.passes import strip_metadata, transposed_weights

WEIGHT = np.arange(20, dtype=np.float32).reshape(5, 4) / 7  # as torch's Linear keeps it: [columns, depth]
X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
HEADER = '<ir_version: 10, opset_import: ["": 18]>'


def build(text: str, **weights: np.ndarray) -> onnx_ir.Model:
    """A model from ONNX's text format, with initializers and inferred shapes, as tracing leaves it."""
    proto = onnx.parser.parse_model(f"{HEADER} g {text}")
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return onnx_ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto))


def run(model: onnx_ir.Model, **inputs: np.ndarray) -> list[np.ndarray]:
    proto = onnx_ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    return list(ort.InferenceSession(proto.SerializeToString()).run(None, inputs))


def ops(model: onnx_ir.Model) -> list[str]:
    return [node.op_type for node in model.graph if node.op_type != "Constant"]


def assert_kept(model: onnx_ir.Model, expected: list[np.ndarray], **inputs: np.ndarray) -> None:
    for before, after in zip(expected, run(model, **inputs), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)


LINEAR = "(float[b, s, 4] x) => (float[b, s, 5] y) { t = Transpose <perm = [1, 0]> (w)  y = MatMul(x, t) }"


def test_weight_of_one_linear_is_stored_transposed() -> None:
    model = build(LINEAR, w=WEIGHT)
    expected = run(model, x=X)
    assert transposed_weights.call(model)
    assert ops(model) == ["MatMul"]
    stored = model.graph.initializers["w"]
    assert list(stored.shape or ()) == [4, 5]
    assert stored.const_value is not None
    np.testing.assert_array_equal(stored.const_value.numpy(), WEIGHT.T)
    assert_kept(model, expected, x=X)
    assert not transposed_weights.call(model)


def test_default_permutation_is_the_reverse() -> None:
    model = build(LINEAR.replace("<perm = [1, 0]>", ""), w=WEIGHT)
    expected = run(model, x=X)
    assert transposed_weights.call(model)
    assert ops(model) == ["MatMul"]
    assert_kept(model, expected, x=X)


TIED = """(int64[b, s] ids, float[b, s, 4] x) => (float[b, s, 4] e, float[b, s, 5] y) {
    e = Gather(w, ids)  t = Transpose <perm = [1, 0]> (w)  y = MatMul(x, t) }"""


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (0, 3)])
def test_tied_embedding_stays_as_it_is(shape: tuple[int, int]) -> None:
    model = build(TIED, w=WEIGHT)
    inputs: dict[str, Any] = {
        "ids": np.ones(shape, np.int64),
        "x": np.random.default_rng(0).normal(size=(*shape, 4)).astype(np.float32),
    }
    expected = run(model, **inputs)
    assert transposed_weights.call(model)
    assert "Transpose" not in ops(model)
    assert "Gemm" in ops(model)
    assert list(model.graph.initializers) == ["w"]
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), WEIGHT)  # type: ignore[union-attr]
    assert [value.name for value in model.graph.outputs] == ["e", "y"]
    assert_kept(model, expected, **inputs)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_tied_weight_under_any_rank(rank: int) -> None:
    outer = "a, b, c, "[: 3 * (rank - 1)]
    model = build(
        f"(float[{outer}4] x) => (float[{outer}5] y, float[5, 4] z) "
        "{ t = Transpose <perm = [1, 0]> (w)  y = MatMul(x, t)  z = Identity(w) }",
        w=WEIGHT,
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 4)[4 - rank :]).astype(np.float32)
    expected = run(model, x=x)
    transposed_weights.call(model)
    assert "Transpose" not in ops(model)
    assert_kept(model, expected, x=x)


def test_two_uses_of_one_transposed_weight() -> None:
    model = build(
        "(float[b, s, 4] x) => (float[b, s, 5] y, float[b, s, 5] z) "
        "{ t = Transpose <perm = [1, 0]> (w)  y = MatMul(x, t)  u = Transpose <perm = [1, 0]> (w)  n = Neg(x)"
        "  z = MatMul(n, u) }",
        w=WEIGHT,
    )
    expected = run(model, x=X)
    transposed_weights.call(model)
    assert "Transpose" not in ops(model)
    assert len(model.graph.initializers) == 1
    assert_kept(model, expected, x=X)


@pytest.mark.parametrize(
    "text",
    [
        # Not a weight: the input itself is transposed.
        "(float[3, 4] x) => (float[4, 3] y) { y = Transpose <perm = [1, 0]> (x) }",
        # Another permutation.
        "(float[5, 4] x) => (float[5, 4] y) { t = Transpose <perm = [0, 1]> (w)  y = Add(x, t) }",
        # Shared, and used by something that cannot take the transposition over.
        "(float[4, 5] x) => (float[4, 5] y, float[5, 4] z) "
        "{ t = Transpose <perm = [1, 0]> (w)  y = Add(x, t)  z = Identity(w) }",
        # Shared, and the transposed weight is the left operand.
        "(float[5, 3] x) => (float[4, 3] y, float[5, 4] z) "
        "{ t = Transpose <perm = [1, 0]> (w)  y = MatMul(t, x)  z = Identity(w) }",
    ],
)
def test_left_alone(text: str) -> None:
    model = build(text, w=WEIGHT)
    before = ops(model)
    assert not transposed_weights.call(model)
    assert ops(model) == before


def test_half_precision() -> None:
    model = build(TIED.replace("float[", "float16["), w=WEIGHT.astype(np.float16))
    inputs = {"ids": np.ones((2, 3), np.int64), "x": X.astype(np.float16)}
    expected = run(model, **inputs)
    transposed_weights.call(model)
    for before, after in zip(expected, run(model, **inputs), strict=True):
        assert after.dtype == np.float16
        np.testing.assert_allclose(after, before, rtol=2e-3, atol=2e-3)


def test_metadata_goes_and_answers_stay() -> None:
    model = build(LINEAR, w=WEIGHT)
    expected = run(model, x=X)
    secret = "/home/somebody/model.py"
    model.doc_string = model.graph.doc_string = secret
    model.metadata_props["stack"] = model.graph.metadata_props["stack"] = secret
    for node in model.graph:
        node.doc_string, node.metadata_props["pkg.torch.onnx.stack_trace"] = secret, secret
        for value in node.outputs:
            value.doc_string, value.metadata_props["origin"] = secret, secret
    for value in [*model.graph.inputs, *model.graph.initializers.values()]:
        value.doc_string, value.metadata_props["origin"] = secret, secret
    assert secret.encode() in onnx_ir.serde.serialize_model(model).SerializeToString()
    assert strip_metadata.call(model)
    assert secret.encode() not in onnx_ir.serde.serialize_model(model).SerializeToString()
    assert_kept(model, expected, x=X)


def test_inner_shapes_go_and_the_interface_keeps_its_names() -> None:
    model = build(LINEAR, w=WEIGHT)
    inner = next(node for node in model.graph if node.op_type == "Transpose").outputs[0]
    assert inner.shape is not None
    strip_metadata.call(model)
    assert inner.shape is None
    assert str(model.graph.inputs[0].shape) == "[b,s,4]"
    assert str(model.graph.outputs[0].shape) == "[b,s,5]"


def test_metadata_inside_of_branches_goes() -> None:
    model = build(
        "(bool c, float[2] x) => (float[2] y) { y = If (c) <"
        " then_branch = t () => (float[2] a) { a = Neg(x) }, else_branch = e () => (float[2] b) { b = Abs(x) } > }"
    )
    branch = next(iter(model.graph)).attributes["then_branch"].value
    next(iter(branch)).doc_string = "/home/somebody"
    strip_metadata.call(model)
    assert b"somebody" not in onnx_ir.serde.serialize_model(model).SerializeToString()
    x = np.array([1, -2], np.float32)
    np.testing.assert_array_equal(run(model, c=np.array(True), x=x)[0], -x)
