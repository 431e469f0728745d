"""8 bit: integer products on a CPU, weights alone elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from exporter.quantization.convolutions import has_convolutions, quantize_convolutions
from exporter.quantization.plan import Report, candidates, check_any, count_weights
from exporter.quantization.recipes import eight_bit
from exporter.quantization.request import Request
from exporter.quantization.rewrite import block_product, drop_unused, dynamic_products
from exporter.quantization.tables import quantize_tables

DYNAMIC = "dynamic int8: activations quantised as they come, weights int8 with a scale per column"
STATIC = "static int8: ranges of activations from the calibration data, weights int8 with a scale per channel"
WEIGHTS_ONLY = "weight-only 8 bit: MatMulNBits, in blocks"


def quantize_8_bit(models: Mapping[str, onnx_ir.Model], request: Request) -> Report:
    """Rewrite all graphs in place. Raises `ExportError` when there is nothing to quantise."""
    report = Report(DYNAMIC if request.device == "cpu" else WEIGHTS_ONLY)
    found = {name: candidates(model) for name, model in models.items()}
    static = request.calibrated and request.device == "cpu"
    if not (static and has_convolutions(models)):
        check_any(found, "int8")
    for name, model in models.items():
        total = count_weights(model)
        before = sum(report.weights.values())
        if static and quantize_convolutions(name, model, request, report):
            report.settings["convolutions"] = STATIC
        sites = [*found[name].sites, *quantize_tables(model.graph, found[name], report)]
        if request.device == "cpu":
            dynamic_products(model.graph, sites)
        else:
            for site in sites:
                block_product(model.graph, site, eight_bit(site))
        report.weights["8 bit"] += sum({site.name: site.depth * site.columns for site in sites}.values())
        report.weights["float"] += total - (sum(report.weights.values()) - before)
        drop_unused(model)
    return report
