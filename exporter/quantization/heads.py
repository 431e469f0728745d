"""How the last product before an output is kept: in 4 bit where that hardly moves its probabilities, else in 8."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir

from exporter.quantization.blocks import SHORT, fitting_size, long_size
from exporter.quantization.request import Request, Settings
from exporter.quantization.rtn import quantize_rtn
from exporter.quantization.sites import Site, array_of
from exporter.quantization.storage import Storage

# Mean KL divergence in nats: the logarithm of the perplexity that is lost, a fifth of what a language model may lose.
DIVERGENCE = 0.01
# Narrower ones are no vocabulary: a small part of the weights, and often no probabilities.
WIDE = 1000
ROWS = 128
CHUNK = 2**13  # columns worked on at a time
EIGHT = Storage(8, 0, "the last product before an output")


def decide_heads(graph: str, model: onnx_ir.Model, sites: list[Site], request: Request) -> dict[str, Storage]:
    """Weight -> how it is kept. sites: the last products, those that are tied to embeddings among them."""
    wide = [site for site in sites if site.columns >= WIDE and request.settings.embedding_bits is None]
    rows = (request.probe(graph, model, wide, ROWS) if request.probe and wide else None) or {}
    probed = {site.name: _head(site, rows[str(site.activation.name)], request.settings) for site in wide if rows}
    return dict.fromkeys((site.name for site in sites), EIGHT) | probed


def _head(site: Site, inputs: np.ndarray, settings: Settings) -> Storage:
    """4 bit in the longest blocks that keep the probabilities, 8 bit where none do."""
    reason = ""
    for size in _sizes(site, settings):
        lost = divergence(site, inputs, size, settings.symmetric)
        if lost <= DIVERGENCE:
            return Storage(4, size, reason)
        reason = f"blocks of {size} in 4 bit move the probabilities of probe inputs by {lost:.3f} nats"
    return Storage(8, 0, f"{EIGHT.reason}: {reason}") if reason else EIGHT


def _sizes(site: Site, settings: Settings) -> Iterable[int]:
    """Sizes of blocks to try; of those that the embeddings tied to a product can have too."""
    sizes = [settings.block_size] if settings.block_size else dict.fromkeys((long_size(site.depth), SHORT))
    return [size for size in sizes if fitting_size(site.depth, size) == size]


def divergence(site: Site, inputs: np.ndarray, size: int, symmetric: bool) -> float:
    """Mean KL divergence of the probabilities that a product in 4 bit gives, on inputs `[rows, depth]`."""
    weight, rows = site.columns_first(), inputs.astype(np.float32)
    exact = np.zeros((len(rows), len(weight)), np.float32) if site.bias is None else _biases(site, len(rows))
    rough = exact.copy()
    for start in range(0, len(weight), CHUNK):
        part = slice(start, start + CHUNK)
        picked = np.ascontiguousarray(weight[part])
        exact[:, part] += rows @ picked.T
        rough[:, part] += rows @ quantize_rtn(picked, 4, size, symmetric).dequantized().T
    return _divergence(exact, rough)


def _biases(site: Site, rows: int) -> np.ndarray:
    assert site.bias is not None
    return np.tile(array_of(site.bias), (rows, 1))


def _divergence(exact: np.ndarray, rough: np.ndarray) -> float:
    for logits in (exact, rough):
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return float((np.exp(exact) * (exact - rough)).sum(-1).mean())
