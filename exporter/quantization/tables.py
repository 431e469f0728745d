"""Embeddings in 8 or 4 bit, and output matrices that are the same table: stored once."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir

from exporter.quantization.plan import Candidates, Report
from exporter.quantization.recipes import eight_bit_table
from exporter.quantization.rewrite import Recipe, block_product, block_table
from exporter.quantization.sites import Site, Table, sizes

Recipes = Callable[[Table], Recipe | None]


def quantize_tables(
    graph: onnx_ir.Graph, found: Candidates, report: Report, recipes: Recipes = eight_bit_table
) -> list[Site]:
    """Rewrite every table that fits; returns the products of those that do not, to be treated like any other."""
    left: list[Site] = []
    for table in found.tables:
        recipe = recipes(table)
        if recipe is None:
            left.extend(table.sites)
            report.notes.append(f"{table.name} stays float: its width {sizes(table.weight)[1]} has no size of blocks")
            continue
        block_table(graph, table, recipe)
        for site in table.sites:
            block_product(graph, site, recipe)
        rows, width = sizes(table.weight)
        report.weights[f"{recipe.bits} bit"] += rows * width
    return left
