"""Products are widened where rows would collide in the cache: the same answers, and only where nothing else reads."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest

from exporter.passes.inner_width import ADDED, widen
from tests.unit.test_passes import assert_kept, run

HEADER = '<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>'
BODY = "g (float[b, s, 4] x) => (float[b, s, 5] y)"
PLAIN = "{ h = MatMul(x, v)  a = Add(h, c)  f = Gelu(a)  y = MatMul(f, w) }"
GATED = "{ h = MatMul(x, v)  f = com.microsoft.QuickGelu(h)  u = MatMul(x, v2)  m = Mul(f, u)  y = MatMul(m, w) }"
X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)


def weights(width: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {"v": (4, width), "v2": (4, width), "c": (width,), "w": (width, 5)}
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def build(nodes: str, width: int = 3072) -> onnx_ir.Model:
    import onnx

    proto = onnx.parser.parse_model(f"{HEADER} {BODY} {nodes}")
    arrays = {name: array for name, array in weights(width).items() if f"{name})" in nodes or f"({name}," in nodes}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return onnx_ir.serde.deserialize_model(proto)


def width_of(model: onnx_ir.Model) -> int:
    shape = model.graph.initializers["w"].shape
    assert shape is not None
    return int(shape[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("nodes", [PLAIN, GATED], ids=["bias and GELU", "gated"])
def test_the_answers_stay(nodes: str) -> None:
    model = build(nodes)
    expected = run(model, x=X)
    assert widen({"model": model}) == {"model": 1}
    assert width_of(model) == 3072 + ADDED
    assert np.abs(expected[0]).max() > 1
    np.testing.assert_allclose(run(model, x=X)[0], expected[0], rtol=1e-4, atol=1e-4)
    assert widen({"model": model}) == {}


LEFT_ALONE = {
    "rows that do not collide": (PLAIN, 3000),
    "narrow": (PLAIN, 1024),
    "not 0 for 0": (PLAIN.replace("Gelu(a)", "Sigmoid(a)"), 3072),
    "a weight of two products": (
        PLAIN.replace("y = MatMul(f, w)", "z = MatMul(f, w)  i = MatMul(f, w)  y = Add(z, i)"),
        3072,
    ),
    "a gate without a product": (GATED.replace("u = MatMul(x, v2)", "u = Exp(h)"), 3072),
}


@pytest.mark.parametrize(("nodes", "width"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_left_alone(nodes: str, width: int) -> None:
    model = build(nodes, width)
    expected = run(model, x=X)
    assert widen({"model": model}) == {}
    assert width_of(model) == width
    assert_kept(model, expected, x=X)


def test_weights_that_two_graphs_store_stay() -> None:
    graphs = {"prefill": build(PLAIN), "decode": build(PLAIN)}
    assert widen(graphs) == {}
    assert {width_of(model) for model in graphs.values()} == {3072}
