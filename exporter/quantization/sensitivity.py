"""Which weights lose too much in 4 bit, by what their products on probe inputs lose, never by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from exporter.quantization.blocks import SHORT, long_size
from exporter.quantization.request import Settings
from exporter.quantization.rtn import quantize_rtn
from exporter.quantization.sites import Site
from exporter.quantization.storage import Storage

# Squared error of a product in 4 bit, as a share of its square. Rounding bell-shaped weights costs 0.006 in blocks of
# 32 and 0.009 in blocks of 128; products that cost several times that have weights or inputs with outliers.
LONG_LIMIT = 0.015
LIMIT = 0.03
# No more than this share of the weights is given 8 bits for their loss, the worst first.
SHARE = 0.25
COLUMNS = 512  # of each weight are tried


def decide(sites: list[Site], rows: Mapping[str, np.ndarray], settings: Settings) -> dict[str, Storage]:
    """Weight -> how it is kept. rows: what reaches products, `[n, depth]`, by the activation's name, where known."""
    found, losses = {}, {}
    for site in sites:
        found[site.name], losses[site.name] = _blocks(site, rows.get(str(site.activation.name)), settings)
    return found | _eight_bit(sites, losses)


def _blocks(site: Site, inputs: np.ndarray | None, settings: Settings) -> tuple[Storage, float]:
    """4 bit in long blocks, in short ones where the user wants or the loss asks for them; and what that loses."""
    weight, symmetric = site.columns_first(), settings.symmetric
    size = settings.block_size or long_size(site.depth)
    lost = loss(weight, inputs, size, symmetric)
    if settings.block_size or size == SHORT or lost <= LONG_LIMIT:
        return Storage(4, size), lost
    reason = f"blocks of {SHORT}: blocks of {size} lose {lost:.1%} of {_judged_by(inputs)}"
    return Storage(4, SHORT, reason), loss(weight, inputs, SHORT, symmetric)


def _judged_by(inputs: np.ndarray | None) -> str:
    return "the weight" if inputs is None else "its output on probe inputs"


def _eight_bit(sites: list[Site], losses: Mapping[str, float]) -> dict[str, Storage]:
    """Those that lose most in 4 bit, up to a share of all weights."""
    found: dict[str, Storage] = {}
    allowed = SHARE * sum(site.depth * site.columns for site in sites)
    for site in sorted(sites, key=lambda site: -losses[site.name]):
        allowed -= site.depth * site.columns
        if losses[site.name] <= LIMIT or allowed < 0:
            break
        found[site.name] = Storage(8, 0, f"4 bit loses {losses[site.name]:.1%} of its output on probe inputs")
    return found


def loss(weight: np.ndarray, inputs: np.ndarray | None, size: int, symmetric: bool) -> float:
    """Of a weight `[columns, depth]` in 4 bit, on inputs `[rows, depth]`: squared error as a share of the square.

    That of the weight alone where the graph could not be probed.
    """
    picked = np.ascontiguousarray(weight[:: max(1, len(weight) // COLUMNS)])
    difference = quantize_rtn(picked, 4, size, symmetric).dequantized() - picked
    if inputs is not None:
        rows = inputs.T.astype(np.float32)
        picked, difference = picked @ rows, difference @ rows
    power = float(np.square(picked).sum())
    return float(np.square(difference).sum()) / power if power else 0.0
