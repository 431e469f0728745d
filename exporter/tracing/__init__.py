"""From a torch model to ONNX graphs: one file per way of tracing."""
