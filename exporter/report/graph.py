"""What a graph is made of: operators by the type they compute in, ONNX Runtime's fused ones, weights by their type.

Reads the ONNX files alone, never the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import onnx_ir

from runtime.bundle import Bundle

FUSED_DOMAIN = "com.microsoft"


def describe_graphs(bundle: Bundle) -> dict[str, Any]:
    """`graphs`: by name `{"nodes", "operators": [{op, type, count}], "fused": {op: count}}`; `weights`: bytes by type.

    A tensor that several graphs share counts once among the weights.
    """
    models = {name: onnx_ir.load(str(bundle.graph(name))) for name in bundle.manifest.graphs}
    return {
        "graphs": {name: describe_graph(model) for name, model in models.items()},
        "weights": weight_bytes(models.values()),
    }


def describe_graph(model: onnx_ir.Model) -> dict[str, Any]:
    """Operators with their types, most frequent first."""
    nodes = list(model.graph.all_nodes())
    counts = Counter((node.op_type, node_type(node)) for node in nodes)
    fused = Counter(node.op_type for node in nodes if node.domain == FUSED_DOMAIN)
    return {
        "nodes": len(nodes),
        "operators": [{"op": op, "type": kind, "count": count} for (op, kind), count in counts.most_common()],
        "fused": dict(fused.most_common()),
    }


def node_type(node: onnx_ir.Node) -> str:
    """What a node computes in: the bits of its quantised weights, an 8-bit input's type, else its first output's."""
    if bits := quantised_bits(node):
        return f"int{bits} weights"
    types = [value.dtype for value in node.inputs if value is not None and value.dtype is not None]
    narrow = [kind for kind in types if kind in (onnx_ir.DataType.INT8, onnx_ir.DataType.UINT8)]
    if narrow:
        return type_name(narrow[0])
    outputs = [value.dtype for value in node.outputs if value.dtype is not None]
    return type_name((outputs or types or [onnx_ir.DataType.UNDEFINED])[0])


def type_name(kind: onnx_ir.DataType) -> str:
    """As numpy calls it: float32 for FLOAT."""
    name = str(kind.name).lower()
    return {"float": "float32", "double": "float64", "undefined": "–"}.get(name, name)


def quantised_bits(node: onnx_ir.Node) -> int | None:
    """Of operators whose weights are packed in blocks (MatMulNBits, GatherBlockQuantized; QMoE has its own word)."""
    attribute = node.attributes.get("bits") or node.attributes.get("expert_weight_bits")
    return attribute.as_int() if attribute is not None and node.domain == FUSED_DOMAIN else None


def weight_bytes(models: Iterable[onnx_ir.Model]) -> dict[str, int]:
    """Bytes of weights by type, largest first."""
    seen: set[Any] = set()
    found: Counter[str] = Counter()
    for model in models:
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None:
                continue
            place = (tensor.offset, tensor.length) if isinstance(tensor, onnx_ir.ExternalTensor) else id(tensor)
            if place not in seen:
                seen.add(place)
                found[weight_type(value)] += tensor.nbytes
    return dict(found.most_common())


def weight_type(value: onnx_ir.Value) -> str:
    """An initializer's type; for packed blocks their bits."""
    assert value.dtype is not None
    if value.dtype in (onnx_ir.DataType.UINT8, onnx_ir.DataType.INT8):
        bits = next((quantised_bits(node) for node, _ in value.uses() if quantised_bits(node)), None)
        if bits:
            return f"int{bits}, in blocks"
    return type_name(value.dtype)
