"""Everything that is done to graphs between tracing and quantising, in its order."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from exporter.passes import expert_slices, inner_width, strip_metadata, transposed_weights
from exporter.passes.fuse import fuse


def optimise(graphs: Mapping[str, onnx_ir.Model], widen: bool = False) -> dict[str, dict[str, int]]:
    """Rewrite graphs in place; returns what `fuse` counted. Fusions need the shapes that stripping takes away.

    widen: whether weights may grow, as `inner_width` has it: for graphs that a CPU runs in float32.
    """
    for model in graphs.values():
        expert_slices.call(model)
        transposed_weights.call(model)
    fusions = fuse(graphs)
    for model in graphs.values():
        strip_metadata.call(model)
    if widen:
        for name, count in inner_width.widen(graphs).items():
            fusions[name]["products of rows that were widened"] = count
    return fusions
