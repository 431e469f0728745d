"""Gives each expert that is a product of its own a weight of its own, instead of a slice that is cut at every load."""

from __future__ import annotations

import numpy as np
import onnx_ir

from exporter.passes.graph import add_initializer, constant, remove_unused


def call(model: onnx_ir.Model) -> bool:
    """Rule: `Split` of an initializer along its first axis, each part squeezed: as many initializers.

    As mixtures of experts are traced that are not emitted as one operator. ONNX Runtime would fold the parts into a
    second copy of the weights, and quantisation looks for matrices.
    """
    modified = False
    for node in list(model.graph):
        if node.op_type == "Split" and node.domain in ("", "ai.onnx"):
            modified |= _try_slices(model.graph, node)
    if modified:
        remove_unused(model)
    return modified


def _try_slices(graph: onnx_ir.Graph, split: onnx_ir.Node) -> bool:
    stacked = split.inputs[0]
    tensor = stacked.const_value if stacked is not None and stacked.is_initializer() else None
    if tensor is None or len(tensor.shape) < 3 or split.attributes.get_int("axis", 0) != 0:
        return False
    if len(split.outputs) != int(tensor.shape[0]):  # type: ignore[call-overload]
        return False
    squeezes = [[user for user, _ in part.uses()] for part in split.outputs]
    if not all(_drops_first(user) for users in squeezes for user in users):
        return False
    for index, users in enumerate(squeezes):
        weight = add_initializer(graph, f"{stacked.name}.{index}", _slice(tensor, index)) if users else None
        for user in users:
            onnx_ir.convenience.replace_all_uses_with(user.outputs[0], weight)
    return True


def _drops_first(node: onnx_ir.Node) -> bool:
    axes = constant(node.inputs[1]) if node.op_type == "Squeeze" and len(node.inputs) > 1 else None
    return axes is not None and axes.tolist() == [0] and not node.outputs[0].is_graph_output()


def _slice(tensor: onnx_ir.TensorProtocol, index: int) -> onnx_ir.LazyTensor:
    def read() -> onnx_ir.TensorProtocol:
        return onnx_ir.Tensor(np.ascontiguousarray(tensor.numpy()[index]), dtype=tensor.dtype)

    return onnx_ir.LazyTensor(read, dtype=tensor.dtype, shape=onnx_ir.Shape(list(tensor.shape)[1:]))
