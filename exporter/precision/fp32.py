"""fp32: the weights as float32, whatever they were saved in. The reference itself: only rounding may differ."""

from exporter.precision.base import Precision

PRECISION = Precision(
    name="fp32", dtype="float32", bytes_per_weight=4, error=1e-4, top1=0.99, divergence=1e-6, score=1e-4, exact=True
)
