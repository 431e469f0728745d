"""Round to nearest, with the scale of each block searched for: the range that loses least may cut its extremes off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from exporter.quantization.blocks import Blocks, fill_up

# Where the largest value of a 4-bit block may land, in codes from the middle (beyond -8 it is cut off). Negative: the
# range reaches one code further below the middle than above it, and the scale's sign decides which side that is.
LANDINGS = np.linspace(-9.2, -6.4, 11)
# Shares of an asymmetric block's range.
SHRINKS = np.linspace(0.74, 1.0, 9)
CHUNK = 2**17  # weights worked on at a time: as many as stay in a core's cache


def quantize_rtn(weight: np.ndarray, bits: int, size: int, symmetric: bool = True) -> Blocks:
    """Quantise `[columns, depth]` to 4 or 8 bits in blocks of `size`. 8 bits are always symmetric, without a search."""
    rows = max(1, CHUNK // weight.shape[1])
    with one_thread():
        starts = range(0, len(weight), rows)
        parts = [_quantize(weight[start : start + rows], bits, size, symmetric) for start in starts]
    codes, scales, zeros = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Blocks(codes, scales, None if symmetric or bits == 8 else zeros, bits, weight.shape[1])


@contextmanager
def one_thread() -> Iterator[None]:
    """Small operations lose more by waiting for other threads than they gain: ten times more on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _quantize(weight: np.ndarray, bits: int, size: int, symmetric: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    blocks = torch.from_numpy(fill_up(weight.astype(np.float32, copy=False), size))
    scales, zeros = search(blocks, bits, symmetric)
    codes = encode(blocks, scales, zeros, bits)
    return codes.to(torch.uint8).numpy(), scales.numpy(), zeros.to(torch.uint8).numpy()


def search(blocks: torch.Tensor, bits: int, symmetric: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zero points, float32 `[columns, blocks]`, for `[columns, blocks, size]`."""
    if bits == 8:
        return blocks.abs().amax(-1) / 127, torch.full(blocks.shape[:2], 128.0)
    return _search_symmetric(blocks) if symmetric else _search_asymmetric(blocks)


def encode(blocks: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, bits: int) -> torch.Tensor:
    """The nearest codes, float32 like `blocks` `[columns, blocks, size]`; blocks of zeros have the scale 0."""
    inverse = torch.where(scales == 0, 0.0, 1 / scales)
    return torch.clamp(torch.round(blocks * inverse[..., None]) + zeros[..., None], 0, 2**bits - 1)


def _search_symmetric(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """4 bits: the best of `LANDINGS` for each block, its scale refitted by least squares."""
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))[..., 0]
    zeros = torch.full_like(extreme, 8.0)
    candidates = ((extreme / float(landing), zeros) for landing in LANDINGS)
    return _best(blocks, candidates)


def _search_asymmetric(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """4 bits: the best of `SHRINKS` for each block; the range always holds zero."""
    low, high = blocks.amin(-1).clamp(max=0), blocks.amax(-1).clamp(min=0)

    def candidate(shrink: float) -> tuple[torch.Tensor, torch.Tensor]:
        scales = (high - low) * shrink / 15
        zeros = torch.where(scales == 0, 8.0, torch.round(-low * shrink / scales)).clamp(0, 15)
        return scales, zeros

    return _best(blocks, (candidate(float(shrink)) for shrink in SHRINKS))


def _best(
    blocks: torch.Tensor, candidates: Iterator[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zero points with the smallest squared error, block by block."""
    best_error: torch.Tensor | None = None
    for scales, zeros in candidates:
        scales = refit(blocks, scales, zeros)
        error = squared_error(blocks, scales, zeros)
        if best_error is None:
            best_error, best_scales, best_zeros = error, scales, zeros
            continue
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scales = torch.where(better, scales, best_scales)
        best_zeros = torch.where(better, zeros, best_zeros)
    return best_scales, best_zeros


def refit(blocks: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    """The scales that suit the codes best: least squares of `weight = scale * (code - zero)`."""
    steps = encode(blocks, scales, zeros, 4) - zeros[..., None]
    squares = (steps * steps).sum(-1)
    return torch.where(squares == 0, scales, (blocks * steps).sum(-1) / squares)


def squared_error(blocks: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    """Of each block in 4 bit, `[columns, blocks]`."""
    found = (encode(blocks, scales, zeros, 4) - zeros[..., None]) * scales[..., None]
    return (blocks - found).square_().sum(-1)
