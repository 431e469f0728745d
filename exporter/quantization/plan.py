"""Decides what becomes of every weight of a graph, and says so for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir

from exporter.quantization.sites import Site, Table, find_sites, find_tables, sizes
from runtime.errors import ExportError


@dataclass
class Report:
    """What was quantised, for the manifest's provenance.

    weights: how many numbers of the graph's initializers became "4 bit", "8 bit" or stayed "float". kept: weight ->
    why it was given more bits than the others. notes: what a reader should know.
    """

    scheme: str
    weights: Counter[str] = field(default_factory=Counter)
    kept: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For `bundle.json`; shares of the weights in percent."""
        total = max(sum(self.weights.values()), 1)
        shares = {kind: round(100 * count / total, 2) for kind, count in self.weights.items()}
        rest = {"kept": self.kept, "notes": self.notes, **self.settings}
        return {"scheme": self.scheme, "weights_percent": shares} | {k: v for k, v in rest.items() if v}


@dataclass(frozen=True)
class Candidates:
    """What a graph offers: products (those of tied tables left out) and tables."""

    sites: list[Site]
    tables: list[Table]

    def weights(self) -> dict[str, onnx_ir.Value]:
        """All that may be quantised, by name."""
        products = {site.name: site.weight for site in self.sites}
        return products | {table.name: table.weight for table in self.tables}


def candidates(model: onnx_ir.Model) -> Candidates:
    """The quantisable parts of a graph."""
    sites = find_sites(model.graph)
    tables = find_tables(model.graph, sites)
    tied = {id(site) for table in tables for site in table.sites}
    return Candidates([site for site in sites if id(site) not in tied], tables)


def check_any(found: Mapping[str, Candidates], precision: str) -> None:
    """Raise `ExportError` when no graph has anything to quantise: the bundle would be fp32 under another name."""
    if not any(graph.sites or graph.tables for graph in found.values()):
        raise ExportError(
            f"nothing in this model can be stored as {precision}: no matrix product with constant weights of at least "
            "4096 numbers (convolutions need --int8 with --calibration-data); export it with --fp32 or --fp16"
        )


def count_weights(model: onnx_ir.Model) -> int:
    """Numbers in the float initializers of a graph."""
    floats = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16)
    values = (value for value in model.graph.initializers.values() if value.const_value is not None)
    return sum(int(np.prod(sizes(value))) for value in values if value.dtype in floats)
