"""Recognises projections: `MatMul(x, W)`, with the `Add` of its bias if it has one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir

from exporter.passes.graph import dims, producer, sole_user, weight


@dataclass(frozen=True)
class Projection:
    """The product, its weight `[depth, columns]`, and its bias `[columns]` or None."""

    matmul: onnx_ir.Node
    matrix: onnx_ir.Value
    bias: onnx_ir.Value | None

    @property
    def hidden(self) -> onnx_ir.Value:
        value = self.matmul.inputs[0]
        assert value is not None
        return value

    @property
    def columns(self) -> int:
        assert self.matrix.const_value is not None
        return int(self.matrix.const_value.shape[1])  # type: ignore[arg-type]


def projection_of(value: onnx_ir.Value | None, shared: Collection[str]) -> Projection | None:
    """The projection that gives `value` to one reader, by a weight that is stored for it alone. shared: see `fuse`."""
    if sole_user(value) is None:
        return None
    addition, product, bias = producer(value, "Add"), producer(value, "MatMul"), None
    if addition is not None:
        for operand, other in (addition.inputs, addition.inputs[::-1]):
            if weight(other, 1) is not None and sole_user(operand, "Add") is addition:
                product, bias = producer(operand, "MatMul"), other
    matrix = weight(product.inputs[1], 2) if product is not None else None
    if product is None or matrix is None or dims(product.inputs[0]) is None:
        return None
    if len(matrix.uses()) != 1 or matrix.is_graph_output() or matrix.name in shared:
        return None
    return Projection(product, matrix, bias)
