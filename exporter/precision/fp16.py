"""fp16: loaded and traced in float16, so that transformers' own float32 islands (norms, softmax, rotary) survive.

Modules that leave the range of float16 on probe inputs become islands as well (`exporter/tracing/overflow.py`). Keys
and values are float16 too; logits leave as float32. Compared with the checkpoint in float32.
"""

from exporter.precision.base import Precision, Remedy

PRECISION = Precision(
    name="fp16",
    dtype="float16",
    bytes_per_weight=2,
    error=3e-2,
    top1=0.95,
    divergence=1e-2,
    score=2e-2,
    exact=False,
    agreement=0.5,
    remedies=(Remedy("--fp32"),),
)
