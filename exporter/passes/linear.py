"""Turns `Gemm` between reshapes (torch's `addmm` on flattened rows) into `MatMul` and `Add`."""

from __future__ import annotations

import onnx_ir

from exporter.passes.graph import dims, insert, producer, remove_unused, take_over, weight


def call(model: onnx_ir.Model) -> bool:
    """Rules, for `Reshape(Gemm(Reshape(x), W, b))` where the reshapes only flatten and restore x's outer dimensions:

    1. `Add(MatMul(x, W), b)`; operators that take a bias of their own can then take the Add;
    2. left alone: transposed or scaled products, and anything whose shapes tracing does not know.
    """
    modified = False
    for node in list(model.graph):
        if node.op_type == "Gemm" and node.domain == "":
            modified |= _try_matmul(node)
    remove_unused(model)
    return modified


def _try_matmul(node: onnx_ir.Node) -> bool:
    flat = producer(node.inputs[0], "Reshape")
    users = [use.node for use in node.outputs[0].uses()]
    if flat is None or not _is_plain(node) or node.outputs[0].is_graph_output():
        return False
    activation, matrix = flat.inputs[0], weight(node.inputs[1], 2)
    size = dims(activation)
    if size is None or matrix is None or len(size) < 3:
        return False
    depth, columns = matrix.const_value.shape  # type: ignore[union-attr]
    restored = [*size[:-1], columns]
    if size[-1] != depth or not users or any(u.op_type != "Reshape" or dims(u.outputs[0]) != restored for u in users):
        return False
    for user in users:
        _place(user, activation, node)
    return True


def _is_plain(node: onnx_ir.Node) -> bool:
    transposed = node.attributes.get_int("transA", 0) or node.attributes.get_int("transB", 0)
    scaled = node.attributes.get_float("alpha", 1.0) != 1 or node.attributes.get_float("beta", 1.0) != 1
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return not transposed and not scaled and (bias is None or weight(bias, 1) is not None)


def _place(reshape: onnx_ir.Node, activation: onnx_ir.Value | None, gemm: onnx_ir.Node) -> None:
    old, shape = reshape.outputs[0], onnx_ir.Shape(dims(reshape.outputs[0]) or [])
    product = insert(reshape, "MatMul", [activation, gemm.inputs[1]], shape)
    bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    take_over(old, product if bias is None else insert(reshape, "Add", [product, bias], shape))
