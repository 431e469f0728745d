"""4 bit: weights alone, in blocks, with more bits where the loss that was measured asks for them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from exporter.quantization.plan import Report, candidates, check_any, count_weights
from exporter.quantization.recipes import eight_bit, four_bit
from exporter.quantization.request import Request
from exporter.quantization.rewrite import block_product, drop_unused
from exporter.quantization.sensitivity import sensitive
from exporter.quantization.sites import Site
from exporter.quantization.tables import quantize_tables


def quantize_4_bit(models: Mapping[str, onnx_ir.Model], request: Request) -> Report:
    """Rewrite all graphs in place. Raises `ExportError` when there is nothing to quantise."""
    settings = request.settings
    report = Report(
        f"weight-only 4 bit: MatMulNBits, blocks of {settings.block_size}, "
        f"{'symmetric' if settings.symmetric else 'asymmetric'}, {settings.method}"
    )
    found = {name: candidates(model) for name, model in models.items()}
    check_any(found, "int4")
    for name, model in models.items():
        total, before = count_weights(model), sum(report.weights.values())
        kept = sensitive(name, model, found[name].sites, request)
        report.kept |= kept
        sites = [*found[name].sites, *quantize_tables(model.graph, found[name], report)]
        for site in sites:
            _quantize_site(model, site, site.name in kept, request)
        for kind, count in {site.name: _counted(site, kept) for site in sites}.values():
            report.weights[kind] += count
        report.weights["float"] += total - (sum(report.weights.values()) - before)
        drop_unused(model)
    return report


def _counted(site: Site, kept: Mapping[str, str]) -> tuple[str, int]:
    return ("8 bit" if site.name in kept else "4 bit"), site.depth * site.columns


def _quantize_site(model: onnx_ir.Model, site: Site, kept: bool, request: Request) -> None:
    settings = request.settings
    recipe = eight_bit(site) if kept else four_bit(site, settings.block_size, settings.symmetric)
    block_product(model.graph, site, recipe)
