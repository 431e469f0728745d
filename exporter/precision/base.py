"""What a precision is: the dtype of the trace, what becomes of the weights then, and the budgets of an export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import onnx_ir

from exporter.quantization.plan import Report
from exporter.quantization.request import Request

Quantize = Callable[[Mapping[str, onnx_ir.Model], Request], Report]


def when_called(module: str, function: str) -> Quantize:
    """A function whose module is loaded when it is needed: torch takes seconds, and a wrong command line should be
    refused at once."""

    def quantize(graphs: Mapping[str, onnx_ir.Model], request: Request) -> Report:
        found: Quantize = getattr(import_module(module), function)
        return found(graphs, request)

    return quantize


@dataclass(frozen=True)
class Remedy:
    """What loses less: `options` of the command, and whether it is something else than what was asked for."""

    options: str
    helps: Callable[[Request], bool] = lambda _: True


@dataclass(frozen=True)
class Precision:
    """How weights are kept, and the budgets of the validation.

    dtype: the model is traced in it; on CUDA in `cuda_dtype`, where that is given.
    quantize: rewrites the traced graphs; None where the weights stay as they are.
    devices: where bundles of this precision run ("cpu", "cuda"); `refusal` says why not elsewhere.
    error: largest difference of any output from the fp32 source, as a share of the largest output.
    top1: smallest share of positions at which the most probable token or label is the source's.
    divergence: largest mean Kullback-Leibler divergence of the probabilities, in nats.
    score: largest difference of a probability that a pipeline answers with.
    exact: whether generated tokens and answers must be the source's, ties apart; otherwise they are reported, and
    `agreement` is the smallest share of generated tokens that must come before the first difference, on average.
    remedies: for people whose model goes over these budgets.
    """

    name: str
    dtype: str
    bytes_per_weight: float
    error: float
    top1: float
    divergence: float
    score: float
    exact: bool
    agreement: float = 1.0
    cuda_dtype: str = ""
    quantize: Quantize | None = None
    devices: tuple[str, ...] = ("cpu", "cuda")
    refusal: str = ""
    remedies: tuple[Remedy, ...] = ()

    def traced_dtype(self, device: str) -> str:
        """The dtype that a model is loaded and traced in for a bundle that runs on `device` ("cpu", "cuda:0")."""
        return self.cuda_dtype if self.cuda_dtype and device.startswith("cuda") else self.dtype

    def advice(self, request: Request) -> str:
        """What to try when an export fails that `request` asked for; "" where there is nothing."""
        options = [remedy.options for remedy in self.remedies if remedy.helps(request)]
        return f"try {', '.join(options[:-1])}{' or ' if options[1:] else ''}{options[-1]}" if options else ""
