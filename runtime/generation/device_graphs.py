"""Graphs that move memory on a device, as ONNX files made here.

ONNX Runtime's Python interface copies whole values only; parts of them move by running a graph on their device. These
have a few nodes each, so they are written straight in the format of the files (protocol buffers, onnx.proto3), without
the `onnx` package.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

OPSET, IR_VERSION = 18, 8
FLOAT, INT64 = 1, 7  # TensorProto.DataType
# Numbers of the fields in onnx.proto3.
MODEL_IR_VERSION, MODEL_GRAPH, MODEL_OPSETS = 1, 7, 8
OPSET_VERSION = 2
GRAPH_NODES, GRAPH_NAME, GRAPH_INPUTS, GRAPH_OUTPUTS = 1, 2, 11, 12
NODE_INPUTS, NODE_OUTPUTS, NODE_OPERATOR = 1, 2, 4
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR, TENSOR_ELEMENT, TENSOR_SHAPE = 1, 1, 2
SHAPE_DIMENSION, DIMENSION_SIZE, DIMENSION_NAME = 1, 1, 2


@cache
def copy_graph(element: int, arrays: int) -> bytes:
    """Copies rows between arrays of one element type (a `TensorProto.DataType`), `arrays` of them in one run.

    source_i [rows, width], target_i [rows, width], taken int64 [n], put int64 [n, 1]
    ->  copied_i [rows, width]: target_i with row put[k] as row taken[k] of source_i

    ScatterND writes in place where `copied_i` is bound to the memory of `target_i`. All rows are read before any of
    them is written, so `source_i` may be that memory too.
    """
    inputs = [value("taken", INT64, ["count"]), value("put", INT64, ["count", 1])]
    nodes, outputs = [], []
    for number in range(arrays):
        shape: list[int | str] = [f"rows_{number}", f"width_{number}"]
        source, target, copied = f"source_{number}", f"target_{number}", f"copied_{number}"
        inputs += [value(source, element, [f"source_rows_{number}", shape[1]]), value(target, element, shape)]
        nodes += [
            node("Gather", [source, "taken"], f"rows_of_{source}"),
            node("ScatterND", [target, "put", f"rows_of_{source}"], copied),
        ]
        outputs.append(value(copied, element, shape))
    return model(nodes, inputs, outputs)


@cache
def zero_graph() -> bytes:
    """Writes zeros. size int64 [1] -> zeros float32 [size]."""
    nodes = [node("ConstantOfShape", ["size"], "zeros")]
    return model(nodes, [value("size", INT64, [1])], [value("zeros", FLOAT, ["count"])])


def model(nodes: Iterable[bytes], inputs: Iterable[bytes], outputs: Iterable[bytes]) -> bytes:
    """A ModelProto."""
    graph = b"".join(
        [
            *(field(GRAPH_NODES, item) for item in nodes),
            field(GRAPH_NAME, "memory"),
            *(field(GRAPH_INPUTS, item) for item in inputs),
            *(field(GRAPH_OUTPUTS, item) for item in outputs),
        ]
    )
    opset = field(OPSET_VERSION, OPSET)
    return field(MODEL_IR_VERSION, IR_VERSION) + field(MODEL_GRAPH, graph) + field(MODEL_OPSETS, opset)


def node(operator: str, inputs: Iterable[str], output: str) -> bytes:
    """A NodeProto with one output and no attributes."""
    named = b"".join(field(NODE_INPUTS, name) for name in inputs)
    return named + field(NODE_OUTPUTS, output) + field(NODE_OPERATOR, operator)


def value(name: str, element: int, shape: Iterable[int | str]) -> bytes:
    """A ValueInfoProto: a tensor with fixed (numbers) and free (names) dimensions."""
    dimensions = b"".join(
        field(SHAPE_DIMENSION, field(DIMENSION_NAME if isinstance(size, str) else DIMENSION_SIZE, size))
        for size in shape
    )
    tensor = field(TENSOR_ELEMENT, element) + field(TENSOR_SHAPE, dimensions)
    return field(VALUE_NAME, name) + field(VALUE_TYPE, field(TYPE_TENSOR, tensor))


def field(number: int, content: int | str | bytes) -> bytes:
    """A field of a message: a number, or anything else with its length before it."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(number: int) -> bytes:
    """A number, seven bits a byte, the lowest first."""
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
