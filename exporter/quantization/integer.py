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
from exporter.quantization.speed import Timing, time_products
from exporter.quantization.tables import quantize_tables

DYNAMIC = "dynamic int8: activations quantised as they come, weights int8 with a scale per column"
STATIC = "static int8: ranges of activations from the calibration data, weights int8 with a scale per channel"
WEIGHTS_ONLY = "weight-only 8 bit: MatMulNBits, in blocks"


def quantize_8_bit(models: Mapping[str, onnx_ir.Model], request: Request) -> Report:
    """Rewrite all graphs in place. Raises `ExportError` when there is nothing to quantise."""
    found = {name: candidates(model) for name, model in models.items()}
    timing = _timing(models, found, request)
    integers = _uses_integers(request, timing)
    report = Report(DYNAMIC if integers else WEIGHTS_ONLY)
    if timing is not None:
        report.settings["milliseconds"] = timing.as_json()
        report.notes.append(timing.sentence())
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


def _timing(models: Mapping[str, onnx_ir.Model], found: Mapping[str, Candidates], request: Request) -> Timing | None:
    """How long products take either way, where that decides: rows of a step, of eight together, and of a prompt."""
    if request.device != "cpu" or request.settings.int8_method != "fastest" or request.calibrated:
        return None
    names = [str(value.name) for model in models.values() for value in model.graph.inputs]
    steps = any(name.startswith("past") for name in names)
    sizes = {site.name: (site.depth, site.columns) for graph in found.values() for site in graph.sites}
    return time_products(list(sizes.values()), (1, 8, 128) if steps else (128,))


def _uses_integers(request: Request, timing: Timing | None) -> bool:
    if request.device != "cpu" or request.settings.int8_method == "weights":
        return False
    return timing is None or not timing.prefers_weights


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
