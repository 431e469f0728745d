"""Which weights lose too much in 4 bit, by what their products on probe inputs lose, never by name."""

from __future__ import annotations

import numpy as np
import onnx_ir

from exporter.quantization.request import Request
from exporter.quantization.rtn import quantize_rtn
from exporter.quantization.sites import Site

# Squared error of a product in 4 bit, as a share of its square. Rounding bell-shaped weights in blocks of 32 costs
# 0.007; products that cost several times that have weights or inputs with outliers.
LIMIT = 0.03
# No more than this share of the weights is given 8 bits for their loss, the worst first.
SHARE = 0.25
ROWS = 256
COLUMNS = 512  # of each weight are tried


def sensitive(graph: str, model: onnx_ir.Model, sites: list[Site], request: Request) -> dict[str, str]:
    """Weight -> reason, for those that stay in 8 bit."""
    reasons = {site.name: "the last product before an output" for site in sites if site.final()}
    rest = [site for site in sites if site.name not in reasons]
    losses = measure(graph, model, rest, request)
    allowed = SHARE * sum(site.depth * site.columns for site in rest)
    for site in sorted(rest, key=lambda site: -losses[site.name]):
        allowed -= site.depth * site.columns
        if losses[site.name] <= LIMIT or allowed < 0:
            break
        reasons[site.name] = f"4 bit loses {losses[site.name]:.1%} of its output on probe inputs"
    return reasons


def measure(graph: str, model: onnx_ir.Model, sites: list[Site], request: Request) -> dict[str, float]:
    """Relative squared error of each product in 4 bit; that of the weight alone where the graph cannot be probed."""
    rows = request.probe(graph, model, sites, ROWS) if request.probe else None
    settings = request.settings
    losses = {}
    for site in sites:
        inputs = None if rows is None else rows.get(str(site.activation.name))
        losses[site.name] = loss(site.columns_first(), inputs, settings.block_size, settings.symmetric)
    return losses


def loss(weight: np.ndarray, inputs: np.ndarray | None, size: int, symmetric: bool) -> float:
    """Of a weight `[columns, depth]` in 4 bit, on inputs `[rows, depth]`."""
    picked = np.ascontiguousarray(weight[:: max(1, len(weight) // COLUMNS)])
    difference = quantize_rtn(picked, 4, size, symmetric).dequantized() - picked
    if inputs is not None:
        rows = inputs.T.astype(np.float32)
        picked, difference = picked @ rows, difference @ rows
    power = float(np.square(picked).sum())
    return float(np.square(difference).sum()) / power if power else 0.0
