"""What the passes share: looking at values, and putting one node in the place of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir

MICROSOFT = "com.microsoft"


def sole_user(value: onnx_ir.Value | None, *operators: str) -> onnx_ir.Node | None:
    """The one node that reads `value`, if it is one of `operators` (any where none is named)."""
    if value is None or value.is_graph_output():
        return None
    uses = value.uses()
    if len(uses) != 1:
        return None
    user: onnx_ir.Node = uses[0].node
    return user if not operators or user.op_type in operators else None


def producer(value: onnx_ir.Value | None, *operators: str) -> onnx_ir.Node | None:
    """The node that made `value`, if it is one of `operators`."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in operators else None


def weight(value: onnx_ir.Value | None, rank: int) -> onnx_ir.Value | None:
    """`value` if it is an initializer with that many dimensions, else None."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value if len(value.const_value.shape) == rank else None


def constant(value: onnx_ir.Value | None) -> np.ndarray | None:
    """The numbers of a small constant, None where the value is not one."""
    tensor = onnx_ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor.numpy() if tensor is not None and tensor.size <= 16 else None


def dims(value: onnx_ir.Value | None) -> list[Any] | None:
    """Sizes and names of free dimensions; None unless every dimension is known by size or by name."""
    if value is None or value.shape is None:
        return None
    found = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
    return None if None in found else found


def same_shape(one: onnx_ir.Value | None, other: onnx_ir.Value | None) -> bool:
    """Whether two values certainly have the same shape."""
    found = dims(one)
    return found is not None and found == dims(other)


def take_over(old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    """Let `new` stand where `old` stood."""
    new.shape, new.type, new.name = old.shape, old.type, old.name
    old.name = None
    onnx_ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def remove_unused(model: onnx_ir.Model) -> None:
    """Nodes and initializers that lead to no output."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)


def add_initializer(graph: onnx_ir.Graph, name: str, tensor: onnx_ir.TensorProtocol) -> onnx_ir.Value:
    """Register a tensor under a name that is free."""
    while name in graph.initializers:
        name += "_"
    value = onnx_ir.Value(
        name=name, shape=onnx_ir.Shape(list(tensor.shape)), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def insert(
    place: onnx_ir.Node,
    operator: str,
    inputs: Sequence[onnx_ir.Value | None],
    shape: onnx_ir.Shape,
    attributes: Mapping[str, int] | None = None,
) -> onnx_ir.Value:
    """Put a node of the default domain before `place`; returns its output, of the type of its first input."""
    node = onnx_ir.node(operator, inputs, attributes)
    output: onnx_ir.Value = node.outputs[0]
    output.shape, output.type = shape, inputs[0].type if inputs[0] is not None else None
    assert place.graph is not None
    place.graph.insert_before(place, node)
    return output


def joined(parts: Sequence[onnx_ir.Value | None], columns: Sequence[int], axis: int) -> onnx_ir.LazyTensor:
    """Weights side by side along `axis`, where they have `columns`; zeros for None (biases only).

    They are read when the tensor is, so that nothing is held twice.
    """
    tensors = [part.const_value if part is not None else None for part in parts]
    sample = next(tensor for tensor in tensors if tensor is not None)
    shape = [int(size) for size in sample.shape]  # type: ignore[call-overload]
    shape[axis] = sum(columns)

    def read() -> onnx_ir.TensorProtocol:
        arrays = [
            np.zeros(count, sample.dtype.numpy()) if tensor is None else tensor.numpy()
            for tensor, count in zip(tensors, columns, strict=True)
        ]
        return onnx_ir.Tensor(np.concatenate(arrays, axis=axis), dtype=sample.dtype)

    return onnx_ir.LazyTensor(read, dtype=sample.dtype, shape=onnx_ir.Shape(shape))
