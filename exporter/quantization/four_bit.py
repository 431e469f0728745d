"""4 bit: weights alone, in blocks, with more bits where the loss that was measured asks for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir

from exporter.quantization.plan import Report, candidates, check_any, count_weights
from exporter.quantization.recipes import eight_bit, four_bit
from exporter.quantization.request import Request
from exporter.quantization.rewrite import block_product, drop_unused
from exporter.quantization.sensitivity import sensitive
from exporter.quantization.sites import Site
from exporter.quantization.tables import quantize_tables

# Inputs that GPTQ learns from are kept until the weights are written: this much, and so many rows at least and at most.
LEARNED_BYTES, ROWS = 2**29, (512, 4096)


def quantize_4_bit(models: Mapping[str, onnx_ir.Model], request: Request) -> Report:
    """Rewrite all graphs in place. Raises `ExportError` when there is nothing to quantise."""
    settings = request.settings
    report = Report(
        f"weight-only 4 bit: MatMulNBits, blocks of {settings.block_size}, "
        f"{'symmetric' if settings.symmetric and settings.method != 'hqq' else 'asymmetric'}, {settings.method}"
    )
    found = {name: candidates(model) for name, model in models.items()}
    check_any(found, "int4")
    for name, model in models.items():
        total, before = count_weights(model), sum(report.weights.values())
        kept = sensitive(name, model, found[name].sites, request)
        report.kept |= kept
        sites = [*found[name].sites, *quantize_tables(model.graph, found[name], report)]
        inputs = _learned_from(name, model, [site for site in sites if site.name not in kept], request, report)
        for site in sites:
            recipe = (
                eight_bit(site)
                if site.name in kept
                else four_bit(site, settings, inputs.get(str(site.activation.name)))
            )
            block_product(model.graph, site, recipe)
        for kind, count in {site.name: _counted(site, kept) for site in sites}.values():
            report.weights[kind] += count
        report.weights["float"] += total - (sum(report.weights.values()) - before)
        drop_unused(model)
    return report


def _counted(site: Site, kept: Mapping[str, str]) -> tuple[str, int]:
    return ("8 bit" if site.name in kept else "4 bit"), site.depth * site.columns


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
