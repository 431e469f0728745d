"""All fusions in their order, and what they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx_ir

from exporter.passes import attention_bias, linear, needed_rows, packed_attention, views
from exporter.passes.graph import MICROSOFT

# Operators that tracing emits: counted as they end up in the graph.
EMITTED = (
    "GroupQueryAttention",
    "MultiHeadAttention",
    "SimplifiedLayerNormalization",
    "Gelu",
    "FastGelu",
    "QuickGelu",
    "MoE",
)


def fuse(graphs: Mapping[str, onnx_ir.Model]) -> dict[str, dict[str, int]]:
    """Rewrite graphs for speed, in place; weights are read when they are saved.

    Returns, for each graph, how many there are of each emitted operator, of layers with `rotary in attention`, `packed
    query, key and value`, and `bias in attention`, and of `products of the rows that are read`.

    Left out, since ONNX Runtime's CPU kernels are slower than what they replace (width 768, one thread, 8 to 512 rows):
    `SkipLayerNormalization` (4 to 6 times), `SkipSimplifiedLayerNormalization` (1.4 to 2 times), and packed projections
    that need a `Split` (prompts of 512 rows: 3 to 7 % more; single steps: about even).
    A bias in front of a GELU is joined with it by ONNX Runtime itself.
    """
    stored = Counter(name for model in graphs.values() for name in model.graph.initializers)
    shared = {name for name, count in stored.items() if count > 1}
    return {name: _fuse(model, shared) for name, model in graphs.items()}


def _fuse(model: onnx_ir.Model, shared: set[str]) -> dict[str, int]:
    views.call(model)
    if linear.call(model):
        views.call(model)
    packed = packed_attention.call(model, shared)
    biases = attention_bias.call(model)
    rows = needed_rows.call(model)
    found = Counter(node.op_type for node in model.graph if node.op_type in EMITTED)
    rotary = sum(_turns(node) for node in model.graph)
    done = {"rotary in attention": rotary, "packed query, key and value": packed, "bias in attention": biases}
    done["products of the rows that are read"] = rows
    return {name: count for name, count in {**found, **done}.items() if count}


def _turns(node: onnx_ir.Node) -> bool:
    return node.domain == MICROSOFT and bool(node.attributes.get_int("do_rotary", 0))
