"""Convolutions in int8, with ranges of activations from calibration data: weights and activations between Quantize and
Dequantize pairs, which ONNX Runtime turns into integer convolutions.

Rules, for each `Conv` with constant weights:

1. its weight is int8, symmetric, with a scale per output channel; its bias int32, with the product of both scales;
2. its input and its result are uint8 with one scale; where a `Relu` alone uses the result, the Relu's result is (its
   zero point is then 0, so that cutting off below does what the Relu did, and the Relu goes);
3. the same holds for the result of an `Add` of two values that are quantised (residual connections).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir

from exporter.quantization.activations import Scale, scale_of
from exporter.quantization.lazy import Parts
from exporter.quantization.plan import Report
from exporter.quantization.request import Request
from exporter.quantization.rewrite import own_name
from exporter.quantization.sites import array_of, sizes

INT8, UINT8, INT32, FLOAT = (
    onnx_ir.DataType.INT8,
    onnx_ir.DataType.UINT8,
    onnx_ir.DataType.INT32,
    onnx_ir.DataType.FLOAT,
)


def has_convolutions(models: Mapping[str, onnx_ir.Model]) -> bool:
    """Whether any graph has convolutions with constant weights."""
    return any(_is_convolution(node) for model in models.values() for node in model.graph)


def quantize_convolutions(name: str, model: onnx_ir.Model, request: Request, report: Report) -> bool:
    """Rewrite the convolutions of one graph in place. False: there are none, or the graph cannot be run on the data."""
    found = [node for node in model.graph if _is_convolution(node)]
    values = _values(model.graph, found)
    ranges = request.probe.ranges(name, model, values) if request.probe and found else None
    if ranges is None:
        return False
    scales = {value: scale_of(ranges[str(value.name)]) for value in values}
    for node in found:
        report.weights["8 bit"] += int(np.prod(sizes(_weight(node))))
        _quantize_weights(model.graph, node, scales[_input(node)])
    for value, scale in scales.items():
        _insert_pair(model.graph, value, scale)
    return True


def _is_convolution(node: onnx_ir.Node) -> bool:
    if node.op_type != "Conv" or node.domain not in ("", "ai.onnx"):
        return False
    constants = [value for value in node.inputs[1:] if value is not None]
    return all(value.is_initializer() and value.dtype == FLOAT for value in constants)


def _input(node: onnx_ir.Node) -> onnx_ir.Value:
    assert node.inputs[0] is not None
    return node.inputs[0]


def _weight(node: onnx_ir.Node) -> onnx_ir.Value:
    assert node.inputs[1] is not None
    return node.inputs[1]


def _values(graph: onnx_ir.Graph, convolutions: list[onnx_ir.Node]) -> list[onnx_ir.Value]:
    """What is quantised, in the graph's order; inputs of the graph first."""
    found: dict[onnx_ir.Value, None] = dict.fromkeys(
        _input(node) for node in convolutions if _input(node).is_graph_input()
    )
    wanted = {_input(node) for node in convolutions}
    for node in graph:
        adds = node.op_type == "Add" and all(value in found for value in node.inputs)
        if node in convolutions or adds:
            found[_behind_relu(node.outputs[0])] = None
        found |= dict.fromkeys(value for value in node.outputs if value in wanted)
    return list(found)


def _behind_relu(value: onnx_ir.Value) -> onnx_ir.Value:
    users = value.uses()
    user = next(iter(users))[0] if len(users) == 1 else None
    return user.outputs[0] if user is not None and user.op_type == "Relu" else value


def _quantize_weights(graph: onnx_ir.Graph, node: onnx_ir.Node, scale: Scale) -> None:
    weight = _weight(node)
    array = array_of(weight)
    scales = np.abs(array).reshape(len(array), -1).max(1) / np.float32(127)
    scales[scales == 0] = 1
    shaped = scales.reshape(-1, *[1] * (array.ndim - 1))
    parts = Parts(lambda: {"codes": np.clip(np.rint(array_of(weight) / shaped), -127, 127).astype(np.int8)})
    codes = parts.value(own_name(graph, f"{weight.name}.int8"), "codes", INT8, array.shape)
    node.replace_input_with(1, _dequantized(graph, node, codes, scales, 0, INT8))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        product = (scales * scale.scale).astype(np.float32)
        rounded = np.rint(array_of(bias) / product).clip(-(2**31), 2**31 - 1).astype(np.int32)
        whole = _constant(f"{node.outputs[0].name}.bias.int32", rounded, INT32)
        node.replace_input_with(2, _dequantized(graph, node, whole, product, 0, INT32))


def _dequantized(
    graph: onnx_ir.Graph,
    before: onnx_ir.Node,
    codes: onnx_ir.Value,
    scales: np.ndarray,
    axis: int,
    dtype: onnx_ir.DataType,
) -> onnx_ir.Value:
    scale = _constant(f"{codes.name}.scale", scales.astype(np.float32), FLOAT)
    zero = _constant(f"{codes.name}.zero_point", np.zeros(len(scales), dtype.numpy()), dtype)
    constants = [graph.initializers.setdefault(str(value.name), value) for value in (codes, scale, zero)]
    node = onnx_ir.node("DequantizeLinear", constants, {"axis": axis})
    graph.insert_before(before, node)
    return node.outputs[0]


def _insert_pair(graph: onnx_ir.Graph, value: onnx_ir.Value, scale: Scale) -> None:
    """Quantise and dequantise `value` for all that use it; a Relu that the pair makes superfluous goes."""
    relu = value.producer()
    quantised = value
    if relu is not None and relu.op_type == "Relu" and scale.zero == 0 and _single_use(relu.inputs[0]):
        quantised = relu.inputs[0]  # type: ignore[assignment]
    constants = [
        _constant(f"{value.name}.scale", np.array(scale.scale), FLOAT),
        _constant(f"{value.name}.zero_point", np.array(scale.zero, np.uint8), UINT8),
    ]
    for constant in constants:
        graph.register_initializer(constant)
    quantize = onnx_ir.node("QuantizeLinear", [quantised, *constants])
    dequantize = onnx_ir.node("DequantizeLinear", [quantize.outputs[0], *constants])
    result = dequantize.outputs[0]
    users = [(user, index) for user, index in value.uses() if user is not quantize]
    for user, index in users:
        user.replace_input_with(index, result)
    producer = quantised.producer()
    if producer is None:
        graph.insert_before(graph[0], [quantize, dequantize])
    else:
        graph.insert_after(producer, [quantize, dequantize])
    if value.is_graph_output():
        graph.outputs[list(graph.outputs).index(value)] = result
        result.name, value.name = value.name, f"{value.name}.float"
        result.type, result.shape = value.type, value.shape
    if quantised is not value and relu is not None:
        graph.remove(relu, safe=True)


def _single_use(value: onnx_ir.Value | None) -> bool:
    return value is not None and len(value.uses()) == 1 and not value.is_graph_output()


def _constant(name: str, array: np.ndarray, dtype: onnx_ir.DataType) -> onnx_ir.Value:
    tensor = onnx_ir.Tensor(array, dtype=dtype, name=name)
    return onnx_ir.Value(name=name, shape=tensor.shape, type=onnx_ir.TensorType(dtype), const_value=tensor)
