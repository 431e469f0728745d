"""How the last product before an output is kept: in 4 bit where that hardly moves its probabilities, else in 8."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from exporter.memory import drop_pages
from exporter.quantization.blocks import SHORT, fitting_size, long_size
from exporter.quantization.request import Settings
from exporter.quantization.rtn import quantize_rtn
from exporter.quantization.sites import Site, array_of
from exporter.quantization.storage import Storage
from exporter.validation.checks import blocks, divergences

# Mean KL divergence in nats: the logarithm of the perplexity that is lost, a tenth of what a language model may lose.
# Half of it where embeddings are the same numbers: those of a small trained GPT-2 cost as much again, and more.
DIVERGENCE, TIED = 0.005, 0.5
# Narrower ones are no vocabulary: a small part of the weights, and often no probabilities.
WIDE = 1000
ROWS = 128
CHUNK = 2**12  # columns worked on at a time
EIGHT = Storage(8, 0, "the last product before an output")


def wide(sites: Iterable[Site], settings: Settings) -> list[Site]:
    """Those of last products whose inputs have to be known."""
    return [site for site in sites if site.columns >= WIDE and settings.embedding_bits is None]


def decide_heads(
    sites: list[Site], tied: Collection[Site], rows: Mapping[str, np.ndarray], settings: Settings
) -> dict[str, Storage]:
    """Weight -> how it is kept. sites: the last products; tied: those of them whose weights are embeddings too. rows:
    what reaches them, `[n, depth]`, by the activation's name.
    """
    found = dict.fromkeys((site.name for site in sites), EIGHT)
    for site in wide(sites, settings):
        inputs = rows.get(str(site.activation.name))
        if inputs is not None:
            limit = DIVERGENCE * (TIED if site in tied else 1)
            found[site.name] = _head(site, inputs[:: -(-len(inputs) // ROWS)], settings, limit)
    return found


def _head(site: Site, inputs: np.ndarray, settings: Settings, limit: float) -> Storage:
    """4 bit in the longest blocks that keep the probabilities, 8 bit where none do."""
    reason = ""
    for size in _sizes(site, settings):
        lost = divergence(site, inputs, size, settings.symmetric)
        if lost <= limit:
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
        drop_pages()  # a vocabulary's weights are as many as those of many layers
        part = slice(start, start + CHUNK)
        picked = np.ascontiguousarray(weight[part])
        exact[:, part] += rows @ picked.T
        rough[:, part] += rows @ quantize_rtn(picked, 4, size, symmetric).dequantized().T
    cuts = blocks(exact, rough)
    return sum(divergences(a.astype(np.float64), b.astype(np.float64)) for a, b in cuts) / len(rows)


def _biases(site: Site, rows: int) -> np.ndarray:
    assert site.bias is not None
    return np.tile(array_of(site.bias), (rows, 1))
