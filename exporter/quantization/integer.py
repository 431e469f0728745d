"""8 bit: integer products on a CPU, weights alone elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from exporter.quantization.activations import Choice, choose
from exporter.quantization.convolutions import has_convolutions, quantize_convolutions
from exporter.quantization.experts import quantize_experts
from exporter.quantization.plan import Candidates, Report, candidates, check_any, count_weights
from exporter.quantization.recipes import eight_bit, eight_bit_table
from exporter.quantization.request import Request
from exporter.quantization.rewrite import block_product, drop_unused, dynamic_products, fixed_products
from exporter.quantization.sites import Site
from exporter.quantization.tables import quantize_tables

DYNAMIC = "dynamic int8: activations quantised as they come, weights int8 with a scale per column"
STATIC = "static int8: ranges of activations from the calibration data, weights int8 with a scale per channel"
WEIGHTS_ONLY = "weight-only 8 bit: MatMulNBits, in blocks"


def quantize_8_bit(models: Mapping[str, onnx_ir.Model], request: Request) -> Report:
    """Rewrite all graphs in place. Raises `ExportError` when there is nothing to quantise."""
    integers = request.device == "cpu" and request.settings.int8_method == "dynamic"
    report = Report(DYNAMIC if integers else WEIGHTS_ONLY)
    found = {name: candidates(model) for name, model in models.items()}
    calibrated = request.calibrated and integers
    if request.calibrated and not integers:
        how = "--int8-method weights" if request.device == "cpu" else f"--device {request.device}"
        report.notes.append(f"the calibration data changed nothing: with {how} int8 quantises weights alone")
    if not (calibrated and has_convolutions(models)):
        check_any(found, "int8")
    for name, model in models.items():
        total, before = count_weights(model), sum(report.weights.values())
        choice = _choice(name, model, found[name], request, report) if calibrated else Choice()
        if calibrated and quantize_convolutions(name, model, request, report):
            report.settings["convolutions"] = STATIC
        sites = [*found[name].sites, *quantize_tables(model.graph, found[name], report)]
        _quantize_products(model.graph, [site for site in sites if site not in choice.floats], choice, integers)
        counts = {site.name: site.depth * site.columns for site in sites if site not in choice.floats}
        report.weights["8 bit"] += sum(counts.values())
        quantize_experts(model.graph, 8, request.settings, report)
        report.weights["float"] += total - (sum(report.weights.values()) - before)
        drop_unused(model)
    return report


def _choice(name: str, model: onnx_ir.Model, found: Candidates, request: Request, report: Report) -> Choice:
    """Fixed scales for products, where the data can give them; why not, and what stays float, is reported."""
    left = [site for table in found.tables if eight_bit_table(table) is None for site in table.sites]
    sites = [*found.sites, *left]
    choice = choose(name, model, sites, request) if sites else Choice()
    if choice is None:
        report.notes.append(f"graph {name} cannot be run alone on the calibration data: its products stay dynamic")
        return Choice()
    if choice.fixed:
        report.scheme = STATIC
    report.kept |= {site.name: f"float: {reason}" for site, reason in choice.floats.items()}
    dynamic = [site.name for site in sites if site not in choice.fixed and site not in choice.floats]
    report.kept |= dict.fromkeys(dynamic, "dynamic: a fixed range loses more than 1 % of its output")
    return choice


def _quantize_products(graph: onnx_ir.Graph, sites: list[Site], choice: Choice, integers: bool) -> None:
    if not integers:
        for site in sites:
            block_product(graph, site, eight_bit(site))
        return
    fixed_products(graph, {site: choice.fixed[site] for site in sites if site in choice.fixed})
    dynamic_products(graph, [site for site in sites if site not in choice.fixed])
