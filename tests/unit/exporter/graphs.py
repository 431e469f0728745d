"""Small graphs in ONNX's text format, as tracing leaves them, and how they run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime as ort

from runtime.session import session_options


def build(text: str, **weights: np.ndarray) -> onnx_ir.Model:
    """A model with initializers and inferred shapes."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> g {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return onnx_ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto))


def run(model: onnx_ir.Model, **inputs: Any) -> list[np.ndarray]:
    """All outputs, by ONNX Runtime, with the options that the runtime has: int8 is exact on every CPU."""
    options = session_options(1, spinning=False, between_runs=False)
    session = ort.InferenceSession(onnx_ir.serde.serialize_model(model).SerializeToString(), options)
    return list(session.run(None, inputs))


def ops(model: onnx_ir.Model) -> list[str]:
    """Operators in the graph's order."""
    return [node.op_type for node in model.graph if node.op_type != "Constant"]


def relative(expected: np.ndarray, found: np.ndarray) -> float:
    """Root of the squared error, as a share of what was expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
