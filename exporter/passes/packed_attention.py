"""Hands GroupQueryAttention its query, key and value in one piece, from one product."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir

from exporter.passes.graph import MICROSOFT, add_initializer, constant, dims, insert, joined, producer, remove_unused
from exporter.passes.projection import Projection, projection_of


def call(model: onnx_ir.Model, shared: Collection[str] = ()) -> int:
    """Rules, for a GroupQueryAttention:

    1. query, key and value are the parts of one `Split` of the last dimension: it takes what was split as its query,
       and neither key nor value;
    2. they are three projections (`MatMul`, perhaps with a bias) of the same hidden states by weights that nobody
       else reads: one product by the weights side by side, zeros standing for a bias that is missing.

    Projections that would have to be split again (keys that are normalised, gate and up) stay apart: measured on CPU,
    the copy costs more in a prompt than one product less saves in a step.

    shared: names of initializers that another graph of the bundle stores too; they stay as they are, or they would be
    stored twice. Returns how many layers read packed projections.
    """
    attention = [node for node in model.graph if node.domain == MICROSOFT and node.op_type == "GroupQueryAttention"]
    packed = sum(_try_split(node) or _try_projections(node, shared) for node in attention)
    remove_unused(model)
    return packed


def _take(node: onnx_ir.Node, packed: onnx_ir.Value | None) -> bool:
    for index, value in enumerate((packed, None, None)):
        node.replace_input_with(index, value)
    return True


def _try_split(node: onnx_ir.Node) -> bool:
    split = producer(node.inputs[0], "Split")
    if split is None or list(node.inputs[:3]) != list(split.outputs):
        return False
    size = dims(split.inputs[0])
    if size is None or split.attributes.get_int("axis", 0) % len(size) != len(size) - 1:
        return False
    heads, shared = node.attributes["num_heads"].as_int(), node.attributes["kv_num_heads"].as_int()
    if not isinstance(size[-1], int) or size[-1] % (heads + 2 * shared) or not _by_heads(split, heads, shared):
        return False
    return _take(node, split.inputs[0])


def _by_heads(split: onnx_ir.Node, heads: int, shared: int) -> bool:
    """Whether the parts are as wide as query, key and value."""
    sizes = constant(split.inputs[1]) if len(split.inputs) > 1 else None
    if sizes is None:
        return heads == shared
    head = int(sizes[0]) // heads
    return [int(size) for size in sizes] == [heads * head, shared * head, shared * head]


def _try_projections(node: onnx_ir.Node, shared: Collection[str]) -> bool:
    found = [projection_of(value, shared) for value in node.inputs[:3]]
    group = [projection for projection in found if projection is not None]
    if len(group) < 3 or len({id(projection.hidden) for projection in group}) > 1:
        return False
    if len({id(projection.matmul) for projection in group}) < 3 or len({p.matrix.dtype for p in group}) > 1:
        return False
    return _take(node, _packed(node, group))


def _packed(node: onnx_ir.Node, group: list[Projection]) -> onnx_ir.Value:
    """The product and the bias of all three, right before the node that reads them."""
    graph, hidden = node.graph, group[0].hidden
    assert graph is not None
    name, columns = f"{group[0].matrix.name}.packed", [projection.columns for projection in group]
    shape = onnx_ir.Shape([*(dims(hidden) or [])[:-1], sum(columns)])
    matrix = add_initializer(graph, name, joined([projection.matrix for projection in group], columns, 1))
    output = insert(node, "MatMul", [hidden, matrix], shape)
    if all(projection.bias is None for projection in group):
        return output
    bias = add_initializer(graph, f"{name}.bias", joined([projection.bias for projection in group], columns, 0))
    return insert(node, "Add", [output, bias], shape)
