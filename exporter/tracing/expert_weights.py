"""Lays the weights of emitted experts as `MoE` reads them, when they are written: nothing is held twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir

from exporter.tracing.experts import OPERATOR

DOMAIN, NAME = OPERATOR.split("::")
MICROSOFT = "com.microsoft"
Change = Callable[[np.ndarray], np.ndarray]


def lay_out_experts(model: onnx_ir.Model) -> None:
    """Replace every emitted node by `MoE`.

    Weights become `[experts, 2 * width, hidden]`, gate and linear rows in turn, and `[experts, hidden, width]`.
    """
    for node in list(model.graph):
        if node.domain == DOMAIN and node.op_type == NAME:
            _lay_out(model.graph, node)
            model.opset_imports[MICROSOFT] = 1
    model.opset_imports.pop(DOMAIN, None)


def _lay_out(graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
    attributes = node.attributes
    transposed, interleaved = (bool(attributes.get_int(name, 0)) for name in ("transposed", "interleaved"))
    found: list[onnx_ir.Value | None] = [*node.inputs, *[None] * (6 - len(node.inputs))]
    hidden, router, up, up_bias, down, down_bias = found
    inputs = [
        hidden,
        router,
        _changed(graph, up, [*([_transpose] if transposed else []), *([] if interleaved else [interleave])]),
        _changed(graph, up_bias, [] if interleaved else [interleave]),
        _changed(graph, down, [_transpose] if transposed else []),
        down_bias,
    ]
    new = onnx_ir.node("MoE", inputs, _attributes(node), domain=MICROSOFT)
    old = node.outputs[0]
    new.outputs[0].shape, new.outputs[0].type = old.shape, old.type
    onnx_ir.convenience.replace_nodes_and_values(graph, node, [node], [new], [old], [new.outputs[0]])
    for value in (up, up_bias, down):
        if value is not None and not value.uses() and value.name in graph.initializers:
            del graph.initializers[value.name]


def _attributes(node: onnx_ir.Node) -> dict[str, int | float | str]:
    found = node.attributes
    limit = {"swiglu_limit": found["limit"].as_float()} if "limit" in found else {}
    return limit | {
        "activation_type": "swiglu",
        "swiglu_fusion": 1,
        "activation_alpha": found["alpha"].as_float(),
        "activation_beta": found["beta"].as_float(),
        "k": found["k"].as_int(),
        "normalize_routing_weights": 1,
    }


def interleave(array: np.ndarray) -> np.ndarray:
    """`[experts, 2 * width, ...]` in two halves to the rows of both in turn."""
    halves = array.reshape(len(array), 2, array.shape[1] // 2, *array.shape[2:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def _transpose(array: np.ndarray) -> np.ndarray:
    return array.swapaxes(1, 2)


def _changed(graph: onnx_ir.Graph, value: onnx_ir.Value | None, changes: list[Change]) -> onnx_ir.Value | None:
    """An initializer that is `value` after `changes`; `value` itself where there are none."""
    if value is None or not changes:
        return value
    tensor = value.const_value
    assert tensor is not None
    name = f"{value.name}.laid_out"
    sizes = [int(size) for size in tensor.shape]
    shape = onnx_ir.Shape([sizes[0], *sizes[:0:-1]] if _transpose in changes else sizes)

    def read() -> onnx_ir.TensorProtocol:
        array = tensor.numpy()
        for change in changes:
            array = change(array)
        return onnx_ir.Tensor(np.ascontiguousarray(array), dtype=tensor.dtype, name=name)

    lazy = onnx_ir.LazyTensor(read, dtype=tensor.dtype, shape=shape, name=name)
    new = onnx_ir.Value(name=name, shape=shape, type=onnx_ir.TensorType(tensor.dtype), const_value=lazy)
    graph.register_initializer(new)
    return new
