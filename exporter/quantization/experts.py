"""Mixtures of experts in 4 or 8 bit: `MoE`, which tracing emitted, becomes `QMoE`, its weights in blocks.

Operator: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.QMoE
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import onnx_ir

from exporter.quantization.blocks import SHORT, SIZES, Blocks, fitting_size
from exporter.quantization.hqq import quantize_hqq
from exporter.quantization.lazy import Parts
from exporter.quantization.plan import Report
from exporter.quantization.request import Settings
from exporter.quantization.rewrite import ACCURACY_LEVEL, MICROSOFT, UINT8
from exporter.quantization.rtn import quantize_rtn
from exporter.quantization.sensitivity import LIMIT, LONG_LIMIT, loss
from exporter.quantization.sites import array_of, sizes
from exporter.quantization.storage import Storage


def quantize_experts(graph: onnx_ir.Graph, bits: int, settings: Settings, report: Report) -> None:
    """Rewrite every `MoE` of a graph in place. What has no size of blocks stays float, and is reported."""
    for node in [node for node in graph if node.op_type == "MoE" and node.domain == MICROSOFT]:
        weights = _weights(node)
        name = str(weights[0].name)
        storage = choose(weights, bits, settings)
        if storage is None:
            report.notes.append(f"{name} stays float: its sizes {sizes(weights[0])} have no size of blocks")
            continue
        if storage.reason:
            report.kept[name] = storage.reason
        _rewrite(graph, node, storage, settings)
        report.settings["experts"] = f"QMoE: weights of all experts in {bits} bit, in blocks"
        report.weights[f"{storage.bits} bit"] += sum(math.prod(sizes(weight)) for weight in weights)


def _weights(node: onnx_ir.Node) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    """`[experts, 2 * width, hidden]` and `[experts, hidden, width]`."""
    first, second = node.inputs[2], node.inputs[4]
    assert first is not None and second is not None
    return first, second


def choose(weights: tuple[onnx_ir.Value, onnx_ir.Value], bits: int, settings: Settings) -> Storage | None:
    """Long blocks, short ones where those lose too much, 8 bit where 4 bit do; None where no block fits."""
    depth = math.gcd(*(sizes(weight)[2] for weight in weights))
    size = fitting_size(depth, settings.block_size if settings.block_size and bits == 4 else SIZES[0])
    if size is None or bits == 8:
        return None if size is None else Storage(8, size)
    lost = _loss(weights, size, settings)
    if settings.block_size is None and size > SHORT and lost > LONG_LIMIT:
        size, lost = SHORT, _loss(weights, SHORT, settings)
    if lost > LIMIT:
        return Storage(8, size, f"8 bit: 4 bit loses {lost:.1%} of the experts' weights")
    return Storage(4, size)


def _loss(weights: tuple[onnx_ir.Value, onnx_ir.Value], size: int, settings: Settings) -> float:
    return max(loss(_rows(weight), None, size, settings.symmetric) for weight in weights)


def _rows(weight: onnx_ir.Value) -> np.ndarray:
    """The rows of all experts, `[experts * columns, depth]`."""
    return array_of(weight).reshape(-1, sizes(weight)[2])


def _rewrite(graph: onnx_ir.Graph, node: onnx_ir.Node, storage: Storage, settings: Settings) -> None:
    first, second = (_parts(graph, weight, storage, settings) for weight in _weights(node))
    biases = [node.inputs[3], node.inputs[5] if len(node.inputs) > 5 else None]
    inputs = [*node.inputs[:2], *first[:2], biases[0], *second[:2], biases[1], None, None, None, first[2], second[2]]
    while inputs[-1] is None:
        inputs.pop()
    attributes = {**node.attributes, **_attributes(storage)}
    new = onnx_ir.node("QMoE", inputs, attributes, domain=MICROSOFT)
    old = node.outputs[0]
    onnx_ir.convenience.replace_nodes_and_values(graph, node, [node], [new], [old], [new.outputs[0]])


def _attributes(storage: Storage) -> dict[str, int]:
    # The kernels for 8 bit always compute in int8, and ONNX Runtime 1.27 knows QMoE without this attribute only.
    level = {"accuracy_level": ACCURACY_LEVEL} if storage.bits == 4 else {}
    return {"expert_weight_bits": storage.bits, "block_size": storage.size} | level


def _parts(
    graph: onnx_ir.Graph, weight: onnx_ir.Value, storage: Storage, settings: Settings
) -> list[onnx_ir.Value | None]:
    """Codes, scales and zero points (None where the middle of the range is zero), made when they are written."""
    experts, columns, depth = sizes(weight)
    count, bits = depth // storage.size, storage.bits

    def arrays() -> dict[str, np.ndarray]:
        blocks = _quantize(_rows(weight), storage, settings)
        zeros = blocks.packed_zero_points()
        return {"codes": blocks.packed_codes(), "scale": blocks.scales} | ({} if zeros is None else {"zeros": zeros})

    parts, names = Parts(arrays), partial("{}.{}bit.{}".format, weight.name, bits)
    shape = experts, columns
    values = [
        parts.value(names("codes"), "codes", UINT8, (*shape, depth * bits // 8)),
        parts.value(names("scale"), "scale", onnx_ir.DataType.FLOAT, (*shape, count)),
    ]
    if bits == 4 and not (settings.symmetric and settings.method != "hqq"):
        values.append(parts.value(names("zero_point"), "zeros", UINT8, (*shape, -(-count // 2))))
    for value in values:
        graph.register_initializer(value)
    return [*values, None][:3]


def _quantize(rows: np.ndarray, storage: Storage, settings: Settings) -> Blocks:
    if storage.bits == 4 and settings.method == "hqq":
        return quantize_hqq(rows, storage.size)
    return quantize_rtn(rows, storage.bits, storage.size, settings.symmetric)
