"""Weights as int8 with one symmetric scale per column: what integer MatMuls read."""

from __future__ import annotations

import numpy as np


def quantize_columns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[depth, columns]` to int8 of the same shape, from -127 to 127, and float32 scales `[columns]`."""
    weight = weight.astype(np.float32, copy=False)
    scales = np.maximum(weight.max(0), -weight.min(0)) / np.float32(127)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    scaled = weight * inverse
    return np.clip(np.rint(scaled, out=scaled), -127, 127, out=scaled).astype(np.int8), scales
