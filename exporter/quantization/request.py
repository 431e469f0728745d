"""What the command line asks of a quantisation, and what a probe may tell about a graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx_ir

from exporter.quantization.sites import Site
from runtime.errors import ExportError

METHODS = ("rtn",)


@dataclass(frozen=True)
class Settings:
    """Options of `--int8` and `--int4`. block_size: weights that share a scale; method: one of `METHODS`."""

    block_size: int = 32
    symmetric: bool = True
    method: str = "rtn"

    def check(self) -> None:
        """Raise `ExportError` for what no kernel takes."""
        if self.block_size not in (16, 32, 64, 128):
            raise ExportError(f"--block-size {self.block_size} has no kernels: use 16, 32, 64 or 128")
        if self.method not in METHODS:
            raise ExportError(f"unknown --int4-method {self.method!r}; one of {', '.join(METHODS)}")


class Probe(Protocol):
    """Runs a graph, still in float, on probe inputs."""

    def __call__(self, graph: str, model: onnx_ir.Model, sites: list[Site], rows: int) -> dict[str, np.ndarray] | None:
        """Rows `[n, depth]`, at most `rows`, of what reaches each site, by the weight's name; None: cannot be run."""


@dataclass(frozen=True)
class Request:
    """device: where the bundle is to run ("cpu", "cuda"). probe: None where nothing can be measured."""

    device: str = "cpu"
    settings: Settings = field(default_factory=Settings)
    probe: Probe | None = None
