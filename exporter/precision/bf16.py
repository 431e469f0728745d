"""bf16: loaded and traced in bfloat16, for GPUs; logits leave as float32. Its range is float32's: no islands.

ONNX Runtime's CPU provider has no bfloat16 kernels for MatMul, Gemm or Add (1.31), so this is refused there.
"""

from exporter.precision.base import Precision, Remedy

PRECISION = Precision(
    name="bf16",
    dtype="bfloat16",
    bytes_per_weight=2,
    error=8e-2,
    top1=0.9,
    divergence=3e-2,
    score=5e-2,
    exact=False,
    agreement=0.3,
    devices=("cuda",),
    refusal="onnxruntime's CPU provider has no bfloat16 kernels for MatMul, Gemm and Add",
    remedies=(Remedy("--fp16"), Remedy("--fp32")),
)
