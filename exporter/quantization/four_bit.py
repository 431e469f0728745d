"""4 bit: weights alone, in blocks, with more bits where the loss that was measured asks for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir

from exporter.quantization.blocks import LONG, SHORT, long_size
from exporter.quantization.experts import quantize_experts
from exporter.quantization.plan import Report, candidates, check_any, count_weights
from exporter.quantization.recipes import eight_bit, eight_bit_table, four_bit, four_bit_table
from exporter.quantization.request import Request, Settings
from exporter.quantization.rewrite import Recipe, block_product, drop_unused
from exporter.quantization.sensitivity import Storage, decide
from exporter.quantization.sites import Site
from exporter.quantization.tables import Recipes, quantize_tables

# Inputs that GPTQ learns from are kept until the weights are written: this much, and so many rows at least and at most.
LEARNED_BYTES, ROWS = 2**29, (512, 4096)


def quantize_4_bit(models: Mapping[str, onnx_ir.Model], request: Request) -> Report:
    """Rewrite all graphs in place. Raises `ExportError` when there is nothing to quantise."""
    report = Report(_scheme(request.settings))
    found = {name: candidates(model) for name, model in models.items()}
    check_any(found, "int4")
    for name, model in models.items():
        total, before = count_weights(model), sum(report.weights.values())
        storage = decide(name, model, found[name].sites, request)
        report.kept |= {weight: kept.reason for weight, kept in storage.items() if kept.reason}
        untied = quantize_tables(model.graph, found[name], report, _table_recipes(request.settings))
        storage |= {site.name: Storage(4, request.settings.block_size or long_size(site.depth)) for site in untied}
        sites = [*found[name].sites, *untied]
        inputs = _learned_from(name, model, [site for site in sites if storage[site.name].bits == 4], request, report)
        for site in sites:
            recipe = _recipe(site, storage[site.name], request, inputs.get(str(site.activation.name)))
            block_product(model.graph, site, recipe)
        for site in {site.name: site for site in sites}.values():
            report.weights[f"{storage[site.name].bits} bit"] += site.depth * site.columns
        quantize_experts(model.graph, 4, request.settings, report)
        report.weights["float"] += total - (sum(report.weights.values()) - before)
        drop_unused(model)
    return report


def _scheme(settings: Settings) -> str:
    blocks = settings.block_size or f"{LONG}, {SHORT} where those lose too much"
    kind = "symmetric" if settings.symmetric and settings.method != "hqq" else "asymmetric"
    return f"weight-only 4 bit: MatMulNBits, blocks of {blocks}, {kind}, {settings.method}"


def _table_recipes(settings: Settings) -> Recipes:
    if settings.embedding_bits == 8:
        return eight_bit_table
    return lambda table: four_bit_table(table, settings)


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
