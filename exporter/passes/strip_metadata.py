"""Removes what tracing wrote for debugging: stack traces with paths of the exporting machine, and their weight."""

from __future__ import annotations

import onnx_ir


def call(model: onnx_ir.Model) -> bool:
    """Rules:

    1. metadata and doc strings of the model, its graph, every node and every value go;
    2. shapes of inner values go, since they name dimensions by torch's internal symbols; ONNX Runtime infers its own.
    """
    model.metadata_props.clear()
    model.doc_string = None
    model.graph.metadata_props.clear()
    model.graph.doc_string = None
    kept = {*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()}
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            _strip_value(value, keep_shape=value in kept)
    for value in kept:
        _strip_value(value, keep_shape=True)
    return True


def _strip_value(value: onnx_ir.Value, keep_shape: bool) -> None:
    value.metadata_props.clear()
    value.doc_string = None
    if not keep_shape:
        value.shape = None
