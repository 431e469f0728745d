"""Precisions: one file each, which says what it does and what it may cost."""

from __future__ import annotations

from exporter.precision import bf16, fp16, fp32, int4, int8
from exporter.precision.base import Precision

PRECISIONS: dict[str, Precision] = {
    module.PRECISION.name: module.PRECISION for module in (fp32, fp16, bf16, int8, int4)
}

__all__ = ["PRECISIONS", "Precision"]
