"""How the blocks of a weight are made, by method."""

from __future__ import annotations

import numpy as np

from exporter.quantization.blocks import SIZES, fitting_size
from exporter.quantization.gptq import quantize_gptq
from exporter.quantization.hqq import quantize_hqq
from exporter.quantization.request import Settings
from exporter.quantization.rewrite import Recipe
from exporter.quantization.rtn import quantize_rtn
from exporter.quantization.sites import Site, Table, array_of, sizes

# 8 bit blocks are long: their error is small anyway, and every scale is four more bytes to read.
SIZE_8 = 128


def eight_bit(site: Site) -> Recipe:
    """8 bit, symmetric."""
    size = fitting_size(site.depth, SIZE_8) or SIZES[-1]
    return Recipe(8, size, True, lambda: quantize_rtn(site.columns_first(), 8, size))


def eight_bit_table(table: Table) -> Recipe | None:
    """8 bit for a table and the products tied to it; None when no size of blocks divides its width."""
    size = fitting_size(sizes(table.weight)[1], SIZE_8)
    if size is None:
        return None
    return Recipe(8, size, True, lambda: quantize_rtn(array_of(table.weight), 8, size))


def four_bit_table(table: Table, wanted: int, settings: Settings) -> Recipe | None:
    """The same in 4 bit, rounded to nearest, in blocks of `wanted` at most."""
    size = fitting_size(sizes(table.weight)[1], wanted)
    if size is None:
        return None
    symmetric = settings.symmetric
    return Recipe(4, size, symmetric, lambda: quantize_rtn(array_of(table.weight), 4, size, symmetric))


def four_bit(site: Site, size: int, settings: Settings, inputs: np.ndarray | None = None) -> Recipe:
    """4 bit in blocks of `size`, by the method of `settings`. inputs: rows `[n, depth]` of the product, for GPTQ."""
    symmetric = settings.symmetric
    if settings.method == "hqq":
        return Recipe(4, size, False, lambda: quantize_hqq(site.columns_first(), size))
    if settings.method == "gptq" and inputs is not None:
        return Recipe(4, size, symmetric, lambda: quantize_gptq(site.columns_first(), inputs, size, symmetric))
    return Recipe(4, size, symmetric, lambda: quantize_rtn(site.columns_first(), 4, size, symmetric))
