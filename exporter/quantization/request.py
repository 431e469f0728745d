"""What the command line asks of a quantisation, and what a probe may tell about a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from runtime.errors import ExportError

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir

    from exporter.quantization.sites import Site

Ranges = dict[str, tuple[float, float]]
METHODS = ("rtn", "hqq", "gptq")
INT8_METHODS = ("fastest", "dynamic", "weights")


@dataclass(frozen=True)
class Settings:
    """Options of `--int8` and `--int4`.

    block_size: weights that share a scale; None: 128 where that loses little, else 32. method: one of `METHODS`.
    embedding_bits: of embeddings and of the last product before an output, with --int4; 4 or 8; None: 8, and 4 for a
    last product whose probabilities that hardly moves, with the embeddings tied to it. int8_method: of products on a
    CPU, one of `INT8_METHODS`; "fastest" times the others.
    """

    block_size: int | None = None
    symmetric: bool = False
    method: str = "rtn"
    embedding_bits: int | None = None
    int8_method: str = "fastest"

    def check(self, calibrated: bool) -> None:
        """Raise `ExportError` for what no kernel takes."""
        if self.block_size not in (None, 16, 32, 64, 128):
            raise ExportError(f"--block-size {self.block_size} has no kernels: use 16, 32, 64 or 128")
        if self.method not in METHODS:
            raise ExportError(f"unknown --int4-method {self.method!r}; one of {', '.join(METHODS)}")
        if self.embedding_bits not in (None, 4, 8):
            raise ExportError(f"--int4-embeddings {self.embedding_bits}: use 8 or 4")
        if self.int8_method not in INT8_METHODS:
            raise ExportError(f"unknown --int8-method {self.int8_method!r}; one of {', '.join(INT8_METHODS)}")
        if self.method == "gptq" and not calibrated:
            raise ExportError("--int4-method gptq learns from real inputs: give some with --calibration-data FILE")


class Probe(Protocol):
    """Runs a graph, still in float, on probe inputs; None where it cannot be run."""

    def can_run(self, graph: str) -> bool:
        """Whether there are probe inputs for this graph."""

    def __call__(self, graph: str, model: onnx_ir.Model, sites: list[Site], rows: int) -> dict[str, np.ndarray] | None:
        """Rows `[n, depth]`, at most `rows`, of what reaches each site, by the activation's name."""

    def ranges(self, graph: str, model: onnx_ir.Model, values: Sequence[onnx_ir.Value]) -> Ranges | None:
        """Smallest and largest number of each value, by its name."""


@dataclass(frozen=True)
class Request:
    """device: where the bundle is to run ("cpu", "cuda"). probe: None where nothing can be measured.

    calibrated: whether the probe's inputs are the user's, so that ranges of activations can be taken from them.
    """

    device: str = "cpu"
    settings: Settings = field(default_factory=Settings)
    probe: Probe | None = None
    calibrated: bool = False
