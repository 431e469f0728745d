"""GPTQ: weights quantised column after column, the error of each made up for by those that follow, on real inputs.

Frantar et al., https://arxiv.org/abs/2210.17323, algorithm 1, the scales of a block found when its turn comes.
"""

from __future__ import annotations

import numpy as np
import torch

from exporter.quantization.blocks import Blocks
from exporter.quantization.rtn import encode, one_thread, search

DAMPING = 0.01  # of the mean diagonal: inputs that never occur must not divide by zero


def quantize_gptq(weight: np.ndarray, inputs: np.ndarray, size: int, symmetric: bool) -> Blocks:
    """4 bit, `[columns, depth]` in blocks of `size`, for products with `inputs` `[rows, depth]`."""
    depth = weight.shape[1]
    left = torch.from_numpy(np.pad(weight.astype(np.float32), ((0, 0), (0, -depth % size))))
    factor = _inverse_factor(torch.from_numpy(inputs.astype(np.float32)), left.shape[1])
    codes, scales, zeros = [], [], []
    for start in range(0, left.shape[1], size):
        stop = start + size
        with one_thread():
            scale, zero = (value[:, 0] for value in search(left[:, None, start:stop], 4, symmetric))
            found, errors = _quantize_block(left[:, start:stop], factor[start:stop, start:stop], scale, zero)
        left[:, stop:] -= errors @ factor[start:stop, stop:]
        codes.append(found)
        scales.append(scale)
        zeros.append(zero)
    stacked: list[np.ndarray] = [torch.stack(parts, 1).numpy() for parts in (codes, scales, zeros)]
    zero_points = None if symmetric else stacked[2].astype(np.uint8)
    return Blocks(stacked[0].astype(np.uint8), stacked[1], zero_points, 4, depth)


def _quantize_block(
    block: torch.Tensor, factor: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes `[columns, size]`, and the errors, divided by the factor's diagonal, for what comes behind the block."""
    work = block.clone()
    codes, errors = torch.empty_like(work), torch.empty_like(work)
    for index in range(work.shape[1]):
        code = encode(work[:, index, None], scale, zero, 4)[:, 0]
        error = (work[:, index] - (code - zero) * scale) / factor[index, index]
        work[:, index + 1 :] -= error[:, None] * factor[index, None, index + 1 :]
        codes[:, index], errors[:, index] = code, error
    return codes, errors


def _inverse_factor(inputs: torch.Tensor, depth: int) -> torch.Tensor:
    """Upper triangular U `[depth, depth]` with U^T U the inverse of the damped second moments of the inputs."""
    moments = torch.zeros(depth, depth)
    known = inputs.shape[1]
    moments[:known, :known] = inputs.T @ inputs
    diagonal = moments.diagonal()
    diagonal += DAMPING * float(diagonal.mean()) + 1e-10
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    return torch.linalg.cholesky(inverse, upper=True)
