"""4 bit: weights alone, in blocks, with more bits where the loss that was measured asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir

from exporter.quantization.blocks import LONG, SHORT, long_size
from exporter.quantization.experts import quantize_experts
from exporter.quantization.heads import decide_heads, wide
from exporter.quantization.plan import Candidates, Report, candidates, check_any, count_weights
from exporter.quantization.recipes import eight_bit, eight_bit_table, four_bit, four_bit_table
from exporter.quantization.request import Request, Settings
from exporter.quantization.rewrite import Recipe, block_product, drop_unused
from exporter.quantization.sensitivity import decide
from exporter.quantization.shared import Shared
from exporter.quantization.sites import Site, Table, sizes
from exporter.quantization.storage import Storage
from exporter.quantization.tables import Recipes, quantize_tables

# Inputs that GPTQ learns from are kept until the weights are written: this much, and so many rows at least and at most.
LEARNED_BYTES, ROWS = 2**29, (512, 4096)
PROBED = 256  # rows by which products are judged


def quantize_4_bit(models: Mapping[str, onnx_ir.Model], request: Request) -> Report:
    """Rewrite all graphs in place. Raises `ExportError` when there is nothing to quantise."""
    report = Report(_scheme(request.settings))
    found = {name: candidates(model) for name, model in models.items()}
    check_any(found, "int4")
    shared = Shared.between(found)
    for name in sorted(models, key=lambda graph: not _can_probe(graph, request)):
        model = models[name]
        total, before = count_weights(model), sum(report.weights.values())
        storage = shared.agree(found[name].weights(), _storage(name, model, found[name], request))
        untied = quantize_tables(model.graph, found[name], report, _table_recipes(request.settings, storage))
        _quantize_products(name, model, [*found[name].sites, *untied], storage, shared, request, report)
        report.kept |= {weight: kept.reason for weight, kept in storage.items() if kept.reason}
        quantize_experts(model.graph, 4, request.settings, report)
        report.weights["float"] += total - (sum(report.weights.values()) - before)
        drop_unused(model)
    return report


def _can_probe(graph: str, request: Request) -> bool:
    """These graphs first: the others follow what is measured on them."""
    return request.probe is not None and request.probe.can_run(graph)


def _quantize_products(
    name: str,
    model: onnx_ir.Model,
    sites: list[Site],
    storage: Mapping[str, Storage],
    shared: Shared,
    request: Request,
    report: Report,
) -> None:
    inputs = _learned_from(name, model, [site for site in sites if storage[site.name].bits == 4], request, report)
    for site in sites:
        rows = inputs.get(str(site.activation.name))
        recipe = shared.recipe(site.weight, partial(_recipe, site, storage[site.name], request, rows))
        block_product(model.graph, site, recipe)
    for site in {site.name: site for site in sites}.values():
        report.weights[f"{storage[site.name].bits} bit"] += site.depth * site.columns


def _scheme(settings: Settings) -> str:
    blocks = settings.block_size or f"{LONG}, {SHORT} where those lose too much"
    kind = "symmetric" if settings.symmetric and settings.method != "hqq" else "asymmetric"
    return f"weight-only 4 bit: MatMulNBits, blocks of {blocks}, {kind}, {settings.method}"


def _storage(name: str, model: onnx_ir.Model, found: Candidates, request: Request) -> dict[str, Storage]:
    """How every weight is kept. With 4 bits for embeddings the last products are like any other."""
    settings = request.settings
    tied = [site for table in found.tables for site in table.sites]
    last = [] if settings.embedding_bits == 4 else [*tied, *(site for site in found.sites if site.final())]
    rest = [site for site in found.sites if site not in last]
    probed = [*rest, *wide(last, settings)]
    rows = (request.probe(name, model, probed, PROBED) if request.probe else None) or {}
    return _tables(found.tables, settings) | decide(rest, rows, settings) | decide_heads(last, tied, rows, settings)


def _tables(tables: list[Table], settings: Settings) -> dict[str, Storage]:
    bits = settings.embedding_bits or 8
    widths = {table.name: sizes(table.weight)[1] for table in tables}
    return {name: Storage(bits, settings.block_size or long_size(width)) for name, width in widths.items()}


def _table_recipes(settings: Settings, storage: Mapping[str, Storage]) -> Recipes:
    """Tables are kept as the products that are tied to them."""

    def recipe(table: Table) -> Recipe | None:
        kept = storage[table.name]
        return eight_bit_table(table) if kept.bits == 8 else four_bit_table(table, kept.size, settings)

    return recipe


def _recipe(site: Site, storage: Storage, request: Request, inputs: np.ndarray | None) -> Recipe:
    if storage.bits == 8:
        return eight_bit(site)
    return four_bit(site, storage.size, request.settings, inputs)


def _learned_from(
    name: str, model: onnx_ir.Model, sites: list[Site], request: Request, report: Report
) -> dict[str, np.ndarray]:
    """Inputs of the products for GPTQ, half precision; empty for other methods."""
    if request.settings.method != "gptq" or request.probe is None or not sites:
        return {}
    width = sum({site.activation: site.depth for site in sites}.values())
    found = request.probe(name, model, sites, min(max(LEARNED_BYTES // (2 * width), ROWS[0]), ROWS[1]))
    if found is None:
        report.notes.append(f"graph {name} cannot be run alone on texts or images: rounded to nearest, without GPTQ")
    return found or {}
