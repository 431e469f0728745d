"""The graph that picks the best candidates out of a step's logits, on the device that computed them.

    logits  float32 [batch, positions, vocabulary]
    ->  candidate_ids     int64   [batch, positions, K]  tokens of the K greatest logits, greatest first
        candidate_logits  float32 [batch, positions, K]  their logits
        log_sum_exp       float32 [batch, positions]     of all logits: a logit less this is its log-probability

A graph of its own, run behind a step that wants it: outputs of the step's graph would be computed in every run, whether
somebody fetches them or not (ONNX Runtime 1.31 does so with `only_execute_path_to_fetches` too, as its profile shows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir

from exporter.save import graph_spec
from runtime.bundle import CacheSpec, GraphSpec

CANDIDATES = 64
NAME = "candidates"
OPSET, IR_VERSION = 18, 10


def save_candidates(directory: Path, graphs: Mapping[str, GraphSpec], cache: CacheSpec | None) -> GraphSpec | None:
    """Write `candidates.onnx` for a bundle whose rows step in slots; None for any other."""
    if cache is None or cache.kind != "slots":
        return None
    shapes = [spec.shape for graph in graphs.values() for spec in graph.outputs if spec.name == "logits"]
    model = candidate_graph(int(shapes[0][-1]))
    onnx_ir.save(model, str(directory / f"{NAME}.onnx"))
    return graph_spec(NAME, model, {})


def candidate_graph(vocabulary: int) -> onnx_ir.Model:
    """The graph for logits of `vocabulary` columns; smaller ones than K give all they have."""
    count, axes = min(CANDIDATES, vocabulary), ["batch", "positions"]
    logits = value("logits", onnx_ir.DataType.FLOAT, [*axes, vocabulary])
    size = onnx_ir.node("Constant", [], {"value_ints": [count]})
    best = onnx_ir.node("TopK", [logits, size.outputs[0]], {"axis": -1, "largest": 1, "sorted": 1}, num_outputs=2)
    last = onnx_ir.node("Constant", [], {"value_ints": [-1]})
    total = onnx_ir.node("ReduceLogSumExp", [logits, last.outputs[0]], {"keepdims": 0})
    outputs = [
        named(best.outputs[1], "candidate_ids", onnx_ir.DataType.INT64, [*axes, count]),
        named(best.outputs[0], "candidate_logits", onnx_ir.DataType.FLOAT, [*axes, count]),
        named(total.outputs[0], "log_sum_exp", onnx_ir.DataType.FLOAT, axes),
    ]
    graph = onnx_ir.Graph(
        [logits], outputs, nodes=[size, best, last, total], opset_imports={"": OPSET}, name="candidates"
    )
    return onnx_ir.Model(graph, ir_version=IR_VERSION)


def value(name: str, dtype: onnx_ir.DataType, shape: Sequence[int | str]) -> onnx_ir.Value:
    """A graph input."""
    return onnx_ir.Value(name=name, shape=onnx_ir.Shape(shape), type=onnx_ir.TensorType(dtype))


def named(output: onnx_ir.Value, name: str, dtype: onnx_ir.DataType, shape: Sequence[int | str]) -> onnx_ir.Value:
    """A node's output as one of the graph."""
    output.name, output.dtype, output.shape = name, dtype, onnx_ir.Shape(shape)
    return output
