"""Widens what lies between two products where rows of it would begin at the same places of the CPU's first cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_ir

from exporter.passes.graph import producer, sole_user, weight

# Bytes between rows at which all of them fall into one set of an L1 cache with 64 sets of lines of 64 bytes.
CONFLICT = 4096
# Columns that are added, and the smallest width that is worth it.
ADDED, SMALLEST = 32, 2048
# Elementwise operators that give 0 for 0.
KEEP_ZERO = ("Gelu", "FastGelu", "QuickGelu", "Relu", "Tanh")


def widen(graphs: Mapping[str, onnx_ir.Model]) -> dict[str, int]:
    """Run `call` on all graphs of a bundle; weights that several of them store stay as they are.

    Returns how many products were widened, for the graphs that have some.
    """
    stored = Counter(name for model in graphs.values() for name in model.graph.initializers)
    shared = {name for name, count in stored.items() if count > 1}
    counts = {name: call(model, shared) for name, model in graphs.items()}
    return {name: count for name, count in counts.items() if count}


def call(model: onnx_ir.Model, shared: Collection[str] = ()) -> int:
    """Rules, for `MatMul(f(MatMul(x, V) + b), W)` in float32 on weights that nobody else reads, `f` of `KEEP_ZERO`, or
    a product of several such (gated layers), where a row of `f` takes a multiple of `CONFLICT` bytes:

    1. `V` and `b` get `ADDED` columns of zeros and `W` as many rows. The answers are the same: 0 times 0 is added.

    ONNX Runtime's product reads rows of `f` as they lie, a dozen at a time. Measured at 3072 x 768 on two cores (AMD
    EPYC, Zen 4): 133 to 140 GFLOP/s as it is, 169 to 205 with 3104 columns, for 128 to 1024 rows.
    Returns how many were widened.
    """
    found = [list(_group(node, shared)) for node in model.graph if node.op_type == "MatMul"]
    groups = [group for group in found if group]
    for group in groups:
        for value, axis in group:
            _pad(value, axis)
    return len(groups)


def _group(node: onnx_ir.Node, shared: Collection[str]) -> Iterator[tuple[onnx_ir.Value, int]]:
    """The weights of `call`'s rule around the outer product `node`, each with the axis that grows."""
    outer = _own(node.inputs[1], 2, shared)
    if outer is None or not _conflicts(outer):
        return
    inner = _inner(node.inputs[0], shared)
    if inner:
        yield outer, 0
        yield from ((value, len(value.shape or ()) - 1) for value in inner)


def _conflicts(outer: onnx_ir.Value) -> bool:
    assert outer.const_value is not None
    depth = int(outer.const_value.shape[0])  # type: ignore[arg-type]
    return outer.dtype == onnx_ir.DataType.FLOAT and depth >= SMALLEST and depth * 4 % CONFLICT == 0


def _inner(value: onnx_ir.Value | None, shared: Collection[str]) -> list[onnx_ir.Value]:
    """Weights and biases that give `value`, which one node reads; [] unless all of them can grow."""
    if value is None or sole_user(value) is None:
        return []
    kept = producer(value, *KEEP_ZERO)
    if kept is not None:
        return _inner(kept.inputs[0], shared) if len(kept.inputs) == 1 else []
    gate = producer(value, "Mul")
    if gate is not None:
        sides = [_inner(side, shared) for side in gate.inputs]
        return sides[0] + sides[1] if all(sides) else []
    return _projection(value, shared)


def _projection(value: onnx_ir.Value, shared: Collection[str]) -> list[onnx_ir.Value]:
    """The weight, and the bias where there is one, of the projection that gives `value`."""
    addition, product, bias = producer(value, "Add"), producer(value, "MatMul"), None
    if addition is not None:
        for operand, other in (addition.inputs, addition.inputs[::-1]):
            if bias is None and _own(other, 1, shared) is not None and sole_user(operand) is addition:
                product, bias = producer(operand, "MatMul"), other
        if bias is None:
            return []
    matrix = _own(product.inputs[1], 2, shared) if product is not None else None
    if (
        matrix is None
        or matrix.dtype != onnx_ir.DataType.FLOAT
        or (addition is not None and not _as_wide(bias, matrix))
    ):
        return []
    return [matrix] if bias is None else [matrix, bias]


def _as_wide(bias: onnx_ir.Value | None, matrix: onnx_ir.Value) -> bool:
    assert matrix.const_value is not None
    return (
        bias is not None and bias.const_value is not None and bias.const_value.shape[0] == matrix.const_value.shape[1]
    )


def _own(value: onnx_ir.Value | None, rank: int, shared: Collection[str]) -> onnx_ir.Value | None:
    """`value` if it is a weight of that rank which is read once in the whole bundle."""
    found = weight(value, rank)
    if found is None or len(found.uses()) != 1 or found.is_graph_output() or found.name in shared:
        return None
    return found


def _pad(value: onnx_ir.Value, axis: int) -> None:
    """Zeros behind a weight, written when the weight is."""
    tensor = value.const_value
    assert tensor is not None
    sizes = [int(size) for size in tensor.shape]  # type: ignore[call-overload]
    widths = [(0, ADDED if place == axis else 0) for place in range(len(sizes))]
    shape = onnx_ir.Shape([size + after for size, (_, after) in zip(sizes, widths, strict=True)])
    value.const_value = onnx_ir.LazyTensor(
        lambda: onnx_ir.Tensor(np.pad(tensor.numpy(), widths), dtype=tensor.dtype),
        dtype=tensor.dtype,
        shape=shape,
        name=tensor.name,
    )
    value.shape = shape
