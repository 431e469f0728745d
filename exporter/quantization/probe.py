"""Runs a graph in float on probe inputs, and keeps what reaches its products."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir
import onnxruntime as ort
from onnx_ir.passes.common import RemoveUnusedNodesPass

from exporter.memory import release
from exporter.quantization.request import Ranges
from exporter.quantization.sites import Site

Feeds = dict[str, np.ndarray]
HALF = 65504  # the largest float16
GRAPH, DATA = "probe.onnx", "probe.onnx.data"


@dataclass(frozen=True)
class GraphProbe:
    """Probes graphs with `feeds` by graph name; a graph without feeds cannot be run. directory: for the float weights
    while they are run, on disk and not in memory."""

    feeds: dict[str, list[Feeds]]
    directory: Path

    def can_run(self, graph: str) -> bool:
        """See `Probe`."""
        return bool(self.feeds.get(graph))

    def __call__(self, graph: str, model: onnx_ir.Model, sites: list[Site], rows: int) -> dict[str, np.ndarray] | None:
        """See `Probe`."""
        if not self.can_run(graph) or not sites:
            return None
        wanted = {str(site.activation.name): site.activation for site in sites}
        return collect(model, list(wanted.values()), self.feeds[graph], rows, self.directory)

    def ranges(self, graph: str, model: onnx_ir.Model, values: Sequence[onnx_ir.Value]) -> Ranges | None:
        """See `Probe`."""
        if not self.can_run(graph):
            return None
        names = [str(value.name) for value in values]
        found: Ranges = dict.fromkeys(names, (np.inf, -np.inf))
        with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
            for arrays in run(model, values, self.feeds[graph], Path(scratch)):
                for name, array in zip(names, arrays, strict=True):
                    low, high = found[name]
                    found[name] = min(low, float(array.min())), max(high, float(array.max()))
        return found


def collect(
    model: onnx_ir.Model, values: Sequence[onnx_ir.Value], feeds: Sequence[Feeds], rows: int, directory: Path
) -> dict[str, np.ndarray]:
    """float16 rows `[n, width]` of each value over all feeds, at most `rows`, evenly picked from each feed."""
    names = [str(value.name) for value in values]
    share = max(1, rows // len(feeds))
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        for arrays in run(model, values, feeds, Path(scratch)):
            for name, array in zip(names, arrays, strict=True):
                flat = array.reshape(-1, array.shape[-1])
                picked = np.unique(np.linspace(0, len(flat) - 1, min(share, len(flat))).astype(int))
                kept[name].append(flat[picked].clip(-HALF, HALF).astype(np.float16))
    return {name: np.concatenate(arrays) for name, arrays in kept.items()}


def run(
    model: onnx_ir.Model, values: Sequence[onnx_ir.Value], feeds: Sequence[Feeds], scratch: Path
) -> Iterator[list[np.ndarray]]:
    """The inner `values` for each of the feeds."""
    # One weight after the other: by default a gigabyte of them is on its way at a time.
    part = leading_to(model, values)
    onnx_ir.save(part, scratch / GRAPH, external_data=DATA, max_workers=1, max_in_flight_bytes=2**26)
    del part
    release()  # the weights just read: from here on those of the copy count
    session = open_mapped(scratch / GRAPH)
    names = [str(value.name) for value in values]
    for feed in feeds:
        yield session.run(names, feed)


def leading_to(model: onnx_ir.Model, values: Sequence[onnx_ir.Value]) -> onnx_ir.Model:
    """A copy of the graph that computes `values` and nothing else; the weights are the same ones.

    What follows the last of them is not computed, nor its weights touched: the table of a vocabulary is the largest.
    """
    part = model.clone()
    known = {value.name: value for node in part.graph for value in node.outputs}
    known |= {value.name: value for value in part.graph.inputs}
    part.graph.outputs[:] = [known[value.name] for value in values]
    RemoveUnusedNodesPass()(part)
    return part


def open_mapped(path: Path) -> ort.InferenceSession:
    """A session that leaves the weights where they are, in the mapped file."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
