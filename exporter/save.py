"""Writes graphs and their weights: each weight once, in one data file that all graphs of a bundle share."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx_ir

from exporter.memory import drop_pages
from runtime.bundle import GraphSpec, TensorSpec

DATA_FILE = "model.onnx.data"
# Below this many bytes a tensor stays in the graph, where shape inference and constant folding can see it.
THRESHOLD = 1024
# Offsets on page boundaries can be memory-mapped.
PAGE = 4096
# Bytes of mapped weights that are held at a time, but for larger tensors: those that are written are made of float32.
TOGETHER, NUMBER = 2**26, 4


def save_graphs(
    graphs: Mapping[str, onnx_ir.Model], directory: Path, fusions: Mapping[str, dict[str, int]] | None = None
) -> dict[str, GraphSpec]:
    """Write `<name>.onnx` for each graph and one `model.onnx.data`; returns their specs for the manifest.

    fusions: what was fused in each graph, to be noted there.
    """
    with (directory / DATA_FILE).open("wb") as file:
        weights = WeightFile(file)
        for model in graphs.values():
            for value in model.graph.initializers.values():
                weights.move(value)
    for name, model in graphs.items():
        onnx_ir.save(model, str(directory / f"{name}.onnx"))
    return {name: graph_spec(name, model, (fusions or {}).get(name, {})) for name, model in graphs.items()}


class WeightFile:
    """Appends tensors to one file; equal bytes of equal type are stored once, whatever their shapes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.stored: dict[tuple[onnx_ir.DataType, bytes], tuple[int, int]] = {}
        self.read = 0  # bytes since pages were let go of

    def move(self, value: onnx_ir.Value) -> None:
        """Replace an initializer's tensor by a reference into the file."""
        tensor = value.const_value
        if tensor is None or tensor.nbytes < THRESHOLD:
            return
        data = bytes_of(tensor)
        key = (tensor.dtype, hashlib.sha256(data).digest())
        if key not in self.stored:
            self.stored[key] = self._append(data)
        offset, length = self.stored[key]
        value.const_value = onnx_ir.ExternalTensor(
            DATA_FILE, offset, length, tensor.dtype, shape=tensor.shape, name=value.name or "", base_dir=""
        )
        self._let_go(tensor.size)

    def _append(self, data: memoryview | bytes) -> tuple[int, int]:
        self.file.write(b"\0" * (-self.file.tell() % PAGE))
        offset = self.file.tell()
        self.file.write(data)
        return offset, len(data)

    def _let_go(self, count: int) -> None:
        """Of mapped weights that have been read, from time to time."""
        self.read += NUMBER * count
        if self.read >= TOGETHER:
            self.read = 0
            drop_pages()


def bytes_of(tensor: onnx_ir.TensorProtocol) -> memoryview | bytes:
    """A tensor's bytes as they are written, where they lie if they lie so: a table of embeddings is large."""
    array = np.asarray(tensor.numpy())
    if array.nbytes != tensor.nbytes or sys.byteorder == "big":  # two numbers in a byte
        return bytes(tensor.tobytes())
    flat: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memoryview(flat)


def graph_spec(name: str, model: onnx_ir.Model, fusions: dict[str, int]) -> GraphSpec:
    """The interface of a graph as the manifest keeps it."""
    return GraphSpec(
        file=f"{name}.onnx",
        inputs=[tensor_spec(value) for value in model.graph.inputs],
        outputs=[tensor_spec(value) for value in model.graph.outputs],
        nodes=dict(Counter(node.op_type for node in model.graph.all_nodes()).most_common()),
        fusions=fusions,
    )


def tensor_spec(value: onnx_ir.Value) -> TensorSpec:
    """Name, numpy dtype and dimensions (a number, or the name of a free one) of a graph input or output."""
    assert value.name is not None and value.shape is not None and value.dtype is not None
    shape = [dim if isinstance(dim, int) else str(dim.value) for dim in value.shape]
    return TensorSpec(value.name, np.dtype(value.dtype.numpy()).name, shape)
