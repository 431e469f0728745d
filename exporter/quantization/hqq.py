"""Half-quadratic quantisation: zero points that let a few large errors stand and make the many small ones smaller.

Badri and Shaji, https://mobiusml.github.io/hqq_blog/. Zero points are whole numbers, as the fast kernels need them;
scales are refitted by least squares afterwards. Needs no data. Blocks are asymmetric.
"""

from __future__ import annotations

import numpy as np
import torch

from exporter.quantization.blocks import Blocks, fill_up
from exporter.quantization.rtn import CHUNK, encode, one_thread, refit, squared_error

NORM = 0.7  # p of the error's p-norm
STRENGTH, GROWTH, ROUNDS = 10.0, 1.01, 20


def quantize_hqq(weight: np.ndarray, size: int) -> Blocks:
    """4 bit, `[columns, depth]` in blocks of `size`."""
    rows = max(1, CHUNK // weight.shape[1])
    with one_thread():
        parts = [_quantize(weight[start : start + rows], size) for start in range(0, len(weight), rows)]
    codes, scales, zeros = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Blocks(codes, scales, zeros, 4, weight.shape[1])


def _quantize(weight: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    blocks = torch.from_numpy(fill_up(weight.astype(np.float32, copy=False), size))
    low, high = blocks.amin(-1).clamp(max=0), blocks.amax(-1).clamp(min=0)
    scales = (high - low) / 15
    exact = torch.where(scales == 0, 8.0, -low / scales)
    zeros = _solve(blocks, scales, exact).round().clamp(0, 15)
    candidates = [(refit(blocks, scales, zero), zero) for zero in (exact.round().clamp(0, 15), zeros)]
    errors = [squared_error(blocks, *candidate) for candidate in candidates]
    better = errors[1] < errors[0]
    scales, zeros = (torch.where(better, new, old) for old, new in zip(*candidates, strict=True))
    codes = encode(blocks, scales, zeros, 4)
    return codes.to(torch.uint8).numpy(), scales.numpy(), zeros.to(torch.uint8).numpy()


def _solve(blocks: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    """Alternate between the errors that are let stand and the zero points, real numbers so far."""
    inverse = torch.where(scales == 0, 0.0, 1 / scales)[..., None]
    strength = STRENGTH
    for _ in range(ROUNDS):
        codes = torch.clamp(torch.round(blocks * inverse + zeros[..., None]), 0, 15)
        error = blocks - (codes - zeros[..., None]) * scales[..., None]
        size = error.abs()
        kept = torch.sign(error) * torch.relu(size - size.clamp(min=1e-8) ** (NORM - 1) / strength)
        zeros = (codes - (blocks - kept) * inverse).mean(-1)
        strength *= GROWTH
    return zeros
