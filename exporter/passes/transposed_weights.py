"""Folds the transposition of weights, without ever storing a weight twice."""

from __future__ import annotations

import numpy as np
import onnx_ir


def call(model: onnx_ir.Model) -> bool:
    """Rules, for each `Transpose` (perm [1, 0]) of an initializer:

    1. used by that Transpose alone: the initializer is stored transposed and the node goes;
    2. shared with others (tied embeddings) and consumed by `MatMul`: `MatMul(x, W^T)` becomes `Gemm(x, W, transB=1)`
       on rows, because ONNX Runtime would fold the Transpose into a second copy of the weight at load.
    """
    modified = False
    for node in list(model.graph):
        if node.op_type == "Transpose" and _transposes_weight(node):
            modified |= _try_store_transposed(node) or _try_gemm(node)
    return modified


def _transposes_weight(node: onnx_ir.Node) -> bool:
    weight, perm = node.inputs[0], node.attributes.get_ints("perm", [1, 0])
    return weight is not None and weight.is_initializer() and list(perm) == [1, 0] and len(weight.shape or ()) == 2


def _try_store_transposed(node: onnx_ir.Node) -> bool:
    weight = node.inputs[0]
    if weight is None or weight.const_value is None or len(weight.uses()) != 1 or weight.is_graph_output():
        return False
    tensor = weight.const_value
    rows, columns = (int(size) for size in tensor.shape)
    weight.const_value = onnx_ir.LazyTensor(
        lambda: onnx_ir.Tensor(np.ascontiguousarray(tensor.numpy().T), dtype=tensor.dtype),
        dtype=tensor.dtype,
        shape=onnx_ir.Shape([columns, rows]),
        name=tensor.name,
    )
    weight.shape = onnx_ir.Shape([columns, rows])
    onnx_ir.convenience.replace_all_uses_with(node.outputs[0], weight)
    _remove(node)
    return True


def _try_gemm(node: onnx_ir.Node) -> bool:
    weight = node.inputs[0]
    users = [user for user, index in node.outputs[0].uses() if user.op_type == "MatMul" and index == 1]
    if weight is None or not users or len(users) != len(node.outputs[0].uses()):
        return False
    for matmul in users:
        _replace_matmul(matmul, weight)
    _remove(node)
    return True


def _replace_matmul(matmul: onnx_ir.Node, weight: onnx_ir.Value) -> None:
    """x [..., K] @ W^T -> Reshape to [rows, K], Gemm, Reshape to x's leading dimensions."""
    activation, output = matmul.inputs[0], matmul.outputs[0]
    assert activation is not None and weight.shape is not None and matmul.graph is not None
    outer = len(activation.shape or ()) - 1
    columns = int(weight.shape[0])  # type: ignore[arg-type]
    depth = int(weight.shape[1])  # type: ignore[arg-type]
    tape = onnx_ir.tape.Tape()
    rows = tape.op("Reshape", [activation, _constant(tape, [-1, depth])])
    product = tape.op("Gemm", [rows, weight], {"transB": 1})
    shape = tape.op("Shape", [activation], {"end": outer})
    full = tape.op("Concat", [shape, _constant(tape, [columns])], {"axis": 0})
    result = tape.op("Reshape", [product, full])
    result.shape, result.type, result.name = output.shape, output.type, output.name
    matmul.graph.insert_before(matmul, list(tape.nodes))
    onnx_ir.convenience.replace_all_uses_with(output, result, replace_graph_outputs=True)
    _remove(matmul)


def _constant(tape: onnx_ir.tape.Tape, values: list[int]) -> onnx_ir.Value:
    return tape.op("Constant", [], {"value_ints": values})


def _remove(node: onnx_ir.Node) -> None:
    assert node.graph is not None
    node.graph.remove(node, safe=True)
