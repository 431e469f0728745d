"""Gives MultiHeadAttention the biases of its projections, which it adds while it lays out the heads."""

from __future__ import annotations

import onnx_ir

from exporter.passes.graph import MICROSOFT, add_initializer, dims, joined, remove_unused
from exporter.passes.projection import Projection, projection_of


def call(model: onnx_ir.Model) -> int:
    """Rules, for a MultiHeadAttention without a bias whose query, key and value are projections, one at least with one:

    1. it takes the products, and the biases side by side, zeros standing for one that is missing.

    Returns how many layers took biases.
    """
    attention = [node for node in model.graph if node.domain == MICROSOFT and node.op_type == "MultiHeadAttention"]
    taken = sum(_try_bias(node) for node in attention)
    remove_unused(model)
    return taken


def _try_bias(node: onnx_ir.Node) -> bool:
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return False
    found = [projection_of(value, ()) for value in node.inputs[:3]]
    group = [projection for projection in found if projection is not None]
    if len(group) < 3 or all(projection.bias is None for projection in group) or not _one_width(node, group):
        return False
    assert node.graph is not None
    columns = [projection.columns for projection in group]
    bias = joined([projection.bias for projection in group], columns, 0)
    for index, projection in enumerate(group):
        node.replace_input_with(index, projection.matmul.outputs[0])
    if len(node.inputs) < 4:
        node.resize_inputs(4)
    node.replace_input_with(3, add_initializer(node.graph, f"{group[0].matrix.name}.biases", bias))
    return True


def _one_width(node: onnx_ir.Node, group: list[Projection]) -> bool:
    """Queries, keys and values are as wide as the operator's output."""
    size = dims(node.outputs[0])
    return size is not None and all(projection.columns == size[-1] for projection in group)
