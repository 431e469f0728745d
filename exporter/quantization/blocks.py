"""Weights in blocks along the depth, each with a scale of its own: what `MatMulNBits` and `GatherBlockQuantized` read.

Layout: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIZES = (128, 64, 32, 16)
# Long blocks are read faster: with 128 instead of 32 a product in 4 bit takes 0.6 of the time for one row and 0.7 for
# 128 rows (768 by 3072, AVX-512 VNNI). Short ones lose less where weights have outliers.
LONG, SHORT = 128, 32


@dataclass(frozen=True)
class Blocks:
    """A quantised weight `[columns, depth]`, its depth cut into blocks, the last one filled up.

    codes: uint8 `[columns, blocks, size]`; scales: float32 `[columns, blocks]`; zero_points: uint8 like the scales, or
    None for the middle of the range. A weight is `(code - zero_point) * scale`.
    """

    codes: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray | None
    bits: int
    depth: int

    def dequantized(self) -> np.ndarray:
        """float32 `[columns, depth]`."""
        zero = 2 ** (self.bits - 1) if self.zero_points is None else self.zero_points[..., None].astype(np.float32)
        values = (self.codes.astype(np.float32) - zero) * self.scales[..., None]
        whole: np.ndarray = values.reshape(len(values), -1)[:, : self.depth]
        return whole

    def packed_codes(self) -> np.ndarray:
        """uint8 `[columns, blocks, size * bits / 8]`, the first of two 4-bit codes in the low half."""
        return self.codes if self.bits == 8 else pack(self.codes)

    def packed_zero_points(self) -> np.ndarray | None:
        """uint8 `[columns, ceil(blocks * bits / 8)]`; None for symmetric blocks."""
        if self.zero_points is None or self.bits == 8:
            return self.zero_points
        odd = self.zero_points.shape[1] % 2
        return pack(np.pad(self.zero_points, ((0, 0), (0, odd))))


def pack(codes: np.ndarray) -> np.ndarray:
    """Two 4-bit codes in a byte, along the last axis, whose length is even."""
    packed: np.ndarray = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return packed


def fill_up(weight: np.ndarray, size: int) -> np.ndarray:
    """`[columns, depth]` to `[columns, blocks, size]` with zeros behind the last value."""
    columns, depth = weight.shape
    filled = np.pad(weight, ((0, 0), (0, -depth % size)))
    return filled.reshape(columns, -1, size)


def long_size(depth: int) -> int:
    """The longest blocks that a product of this depth fills, `SHORT` where none does."""
    return next((size for size in SIZES if size >= SHORT and depth % size == 0), SHORT)


def fitting_size(depth: int, wanted: int) -> int | None:
    """The largest size of blocks, at most `wanted`, that divides a depth: tables have no room to fill up."""
    return next((size for size in SIZES if size <= wanted and depth % size == 0), None)
