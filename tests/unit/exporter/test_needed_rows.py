"""Rows that nobody reads are not computed: the same answers, and only where nobody else reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
import pytest

from exporter.passes import needed_rows
from tests.unit.exporter.graphs import build, ops, relative, run

generator = np.random.default_rng(0)
SHAPES = {"v": (4, 6), "w": (6, 4), "c": (6,), "scale": (4,), "shift": (4,)}
WEIGHTS = {name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
X, MIXED = (generator.normal(size=(2, 5, 4)).astype(np.float32) for _ in range(2))
POSITIONS = np.array([[4, 0, 0], [2, 3, 1]])

HIDDEN = "(float[b, s, 4] x, float[b, s, 4] mixed"
# What stands behind the attention of a last layer: a residual, a norm, a feed-forward layer.
LAYER = """
    r = Add(x, mixed)  n = LayerNormalization(r, scale, shift)
    h = MatMul(n, v)  a = Add(h, c)  f = Relu(a)  m = MatMul(f, w)  y = Add(r, m)
"""
ROWS = f"{HIDDEN}, int64[b, p, 1] at) => (float[b, p, 4] z) {{ {LAYER} z = GatherND <batch_dims = 1> (y, at) }}"
FIRST = f"{HIDDEN}) => (float[b, 4] z) {{ {LAYER} i = Constant <value_int = 0> ()  z = Gather <axis = 1> (y, i) }}"
SECOND = FIRST.replace("value_int = 0", "value_int = 1")
LAST = FIRST.replace("value_int = 0", "value_int = -1")
KEPT = FIRST.replace("float[b, 4] z", "float[b, 1, 4] z").replace("value_int = 0", "value_ints = [2]")
BOUNDS = """
    i = Constant <value_ints = [{}]> ()  j = Constant <value_ints = [{}]> ()  k = Constant <value_ints = [1]> ()
    z = Slice (y, i, j, k)
"""
SLICED = f"{HIDDEN}) => (float[b, 1, 4] z) {{ {LAYER} {BOUNDS.format(3, 4)} }}"
FIXED = "(float[b, 5, 4] x, float[b, 5, 4] mixed) => (float[b, 2, 4] z)"
TAIL = f"{FIXED} {{ {LAYER} {BOUNDS.format(-2, 2**31)} }}"


def example(text: str) -> tuple[onnx_ir.Model, dict[str, Any]]:
    """A model and its inputs."""
    feeds = {"x": X, "mixed": MIXED} | ({"at": POSITIONS[..., None]} if " at)" in text else {})
    used = {name: array for name, array in WEIGHTS.items() if f"{name})" in text or f"{name}," in text}
    return build(text, **used), feeds


PICKS = {"rows": ROWS, "first": FIRST, "second": SECOND, "last": LAST, "kept": KEPT, "sliced": SLICED, "tail": TAIL}


@pytest.mark.parametrize("text", PICKS.values(), ids=PICKS)
def test_the_answers_stay(text: str) -> None:
    model, feeds = example(text)
    expected = run(model, **feeds)
    assert needed_rows.call(model) == 2
    found = run(model, **feeds)
    assert [array.shape for array in found] == [array.shape for array in expected]
    assert relative(expected[0], found[0]) < 1e-6
    assert set(ops(model)[:2]) <= {"GatherND", "Gather", "Slice"}  # from the residual stream, and from the attention
    assert needed_rows.call(model) == 0


LEFT_ALONE = {
    "rows that are an output too": ROWS.replace("float[b, p, 4] z", "float[b, p, 4] z, float[b, s, 4] y"),
    "rows that somebody mixes": FIRST.replace("(float[b, 4] z)", "(float[b, 4] z, float[b, 4] mean)").replace(
        "i = C", "ones = Constant <value_ints = [1]> ()  mean = ReduceMean <keepdims = 0> (y, ones)  i = C"
    ),
    "nothing but a norm": f"{HIDDEN}) => (float[b, 4] z) {{ i = Constant <value_int = 0> ()"
    " y = LayerNormalization(x, scale, shift)  u = Add(y, mixed)  z = Gather <axis = 1> (u, i) }",
    "most of the rows": TAIL.replace("[-2]", "[1]").replace("float[b, 2, 4] z", "float[b, 4, 4] z"),
    "of unknown number": f"{HIDDEN}) => (float[b, p, 4] z) {{ {LAYER} {BOUNDS.format(1, 2**31)} }}",
    "another axis": FIRST.replace("axis = 1", "axis = 2").replace("float[b, 4] z", "float[b, s] z"),
}


@pytest.mark.parametrize("text", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_left_alone(text: str) -> None:
    model, feeds = example(text)
    before = ops(model)
    assert needed_rows.call(model) == 0
    assert ops(model) == before
    run(model, **feeds)


def test_an_operand_that_has_other_rows_ends_the_chain() -> None:
    """Positions `[1, sequence, width]` have rows, but no batch to pick them by: what adds them is computed whole."""
    text = ROWS.replace("int64[b, p, 1] at", "float[1, s, 4] spread, int64[b, p, 1] at").replace(
        "y = Add(r, m)", "g = Add(m, spread)  k = MatMul(g, square)  y = Add(r, k)"
    )
    square = np.eye(4, dtype=np.float32) + 1
    model = build(text, square=square, **WEIGHTS)
    feeds = {"x": X, "mixed": MIXED, "at": POSITIONS[..., None], "spread": X[:1]}
    expected = run(model, **feeds)
    assert needed_rows.call(model) == 1
    assert relative(expected[0], run(model, **feeds)[0]) < 1e-6


def test_parts_of_a_product() -> None:
    """Gate and up projections in one, as in Phi-3 and ModernBERT."""
    text = FIRST.replace(
        "m = MatMul(f, w)", "g, u = Split <axis = -1, num_outputs = 2> (f)  p = Mul(g, u)  m = MatMul(p, half)"
    )
    model = build(text, half=WEIGHTS["w"][:3].copy(), **{name: WEIGHTS[name] for name in ("v", "c", "scale", "shift")})
    feeds = {"x": X, "mixed": MIXED}
    expected = run(model, **feeds)
    assert needed_rows.call(model) == 2
    assert relative(expected[0], run(model, **feeds)[0]) < 1e-6


def test_a_value_that_is_the_same_for_all_rows_stays() -> None:
    text = ROWS.replace("int64[b, p, 1] at", "float[1, 1, 4] shared, int64[b, p, 1] at").replace(
        "y = Add(r, m)", "g = Mul(m, shared)  y = Add(r, g)"
    )
    model = build(text, **WEIGHTS)
    feeds = {"x": X, "mixed": MIXED, "at": POSITIONS[..., None], "shared": X[:1, :1]}
    expected = run(model, **feeds)
    assert needed_rows.call(model) == 2
    assert relative(expected[0], run(model, **feeds)[0]) < 1e-6
