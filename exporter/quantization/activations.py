"""Activations in 8 bit with a scale that is fixed at export: the range that loses least on calibration data.

A fixed scale makes a row's answer independent of the rows that share its batch; activations that are quantised as they
come have one scale for all of them. Where a fixed scale loses too much, the product keeps that, or stays float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from exporter.quantization.channels import quantize_columns
from exporter.quantization.request import Request
from exporter.quantization.sites import Site, by_activation

# How far a range may be cut off, as shares of the largest number that the data has.
CUTS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
# Squared error of a product, as a share of its square. Bell-shaped activations lose 0.0001 to 0.0005 in 8 bit.
LIMIT = 0.01
# Rows of each activation that are kept in memory to judge by, as many as fit into so many bytes.
BYTES, ROWS = 2**28, (256, 1024)
COLUMNS = 256  # of each weight are tried


@dataclass(frozen=True)
class Scale:
    """Of a quantised value: `number = (code - zero) * scale`, codes from 0 to 255."""

    scale: np.float32
    zero: int

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """The numbers that the codes of `values` stand for."""
        codes = np.clip(np.rint(values / self.scale) + self.zero, 0, 255)
        found: np.ndarray = ((codes - self.zero) * self.scale).astype(np.float32)
        return found


def scale_of(limits: tuple[float, float]) -> Scale:
    """Codes for a range, which always holds zero: padding is zeros, and GELU's and ReLU's results begin there."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = np.float32((high - low) / 255 or 1.0)
    return Scale(scale, round(-low / float(scale)))


@dataclass
class Choice:
    """What becomes of each product: a fixed scale; float, with its reason; all others are quantised as they come."""

    fixed: dict[Site, Scale] = field(default_factory=dict)
    floats: dict[Site, str] = field(default_factory=dict)


def choose(name: str, model: onnx_ir.Model, sites: Sequence[Site], request: Request) -> Choice | None:
    """For the products of one graph, on the request's calibration data; None where the graph cannot be run on it."""
    groups = by_activation(sites)
    if request.probe is None or not groups:
        return None
    width = sum(group[0].depth for group in groups.values())
    rows = request.probe(name, model, list(sites), min(max(BYTES // (2 * width), ROWS[0]), ROWS[1]))
    ranges = request.probe.ranges(name, model, list(groups))
    if rows is None or ranges is None:
        return None
    choice = Choice()
    for activation, group in groups.items():
        _decide(choice, group, rows[str(activation.name)], ranges[str(activation.name)])
    return choice


def _decide(choice: Choice, group: Sequence[Site], rows: np.ndarray, limits: tuple[float, float]) -> None:
    """Products of one activation share its scale: it must do for all of them."""
    values, weights = rows.astype(np.float32), [_sample(site) for site in group]
    scales = [scale_of(cut(limits, share)) for share in CUTS]
    losses = [loss(values, scale.rounded(values), weights) for scale in scales]
    if min(losses) <= LIMIT:
        choice.fixed |= dict.fromkeys(group, scales[losses.index(min(losses))])
        return
    # The most that scales made at run time can do: one for every row.
    lost = loss(values, row_by_row(values), weights)
    if lost > LIMIT:
        choice.floats |= dict.fromkeys(
            group, f"8-bit activations lose {lost:.1%} of its output on the calibration data"
        )


def cut(limits: tuple[float, float], share: float) -> tuple[float, float]:
    """What lies beyond `share` of the largest number is cut off, on whichever side."""
    reach = share * max(abs(limits[0]), abs(limits[1]))
    return max(limits[0], -reach), min(limits[1], reach)


def row_by_row(values: np.ndarray) -> np.ndarray:
    """`[rows, depth]` in 8 bit, each row with a scale of its own."""
    low, high = values.min(1, keepdims=True).clip(max=0), values.max(1, keepdims=True).clip(min=0)
    scale = np.where(high > low, (high - low) / 255, 1)
    zero = np.rint(-low / scale)
    found: np.ndarray = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return found


def loss(values: np.ndarray, rounded: np.ndarray, weights: Sequence[np.ndarray]) -> float:
    """Relative squared error of the worst of the products `values @ weight`."""
    worst = 0.0
    for weight in weights:
        power = float(np.square(values @ weight).sum())
        error = float(np.square((rounded - values) @ weight).sum())
        worst = max(worst, error / power if power else 0.0)
    return worst


def _sample(site: Site) -> np.ndarray:
    """`[depth, at most COLUMNS]` of a weight, as its codes stand for them."""
    picked = site.depth_first()[:, :: max(1, site.columns // COLUMNS)]
    codes, scales = quantize_columns(picked)
    found: np.ndarray = codes * scales
    return found
