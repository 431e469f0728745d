"""Computes the end of a graph for those rows alone that somebody reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from exporter.passes.graph import MICROSOFT, add_initializer, constant, dims, insert, remove_unused

# Every row of the result depends on the same row of the inputs alone.
ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Neg", "Sqrt", "Reciprocal", "Cast", "Clip", "Identity"),
    *("Gelu", "FastGelu", "QuickGelu", "Relu", "Tanh", "Sigmoid", "Erf", "Softplus", "HardSigmoid", "HardSwish"),
)
NORMS = ("LayerNormalization", "SimplifiedLayerNormalization")
# Inputs of MultiHeadAttention that have a row for every query, or whose meaning depends on their number.
BIAS_OF_SCORES, PAST = 5, (6, 7)


def call(model: onnx_ir.Model) -> int:
    """Rules, for a node that picks rows of hidden states `[batch, sequence, width]` (`GatherND` of rows for every
    batch, `Gather` of one position, `Slice` of one or of at most half of them):

    1. nodes that treat every row by itself (elementwise ones, norms, products by a weight and parts of them, attention
       as far as its queries go), and whose results nobody else reads, get the rows that are picked; the picking moves
       in front of them, to the residual stream and the attention of the last layer;
    2. nothing moves where it would not save a product.

    Prompts need the last layer's keys and values at every position, the rest of it only at the last one; a classifier
    reads its first position only. Returns how many products have fewer rows now.
    """
    products = sum(_narrow(pick) for pick in list(_picks(model.graph)))
    if products:
        model.graph.sort()
    remove_unused(model)  # positions of picks that stayed where they are, too
    return products


@dataclass(frozen=True)
class Pick:
    """A node that picks `rows` (a number or a name). operator, parameters, attributes: of nodes that pick the same from
    other values, with the dimension of the rows kept.
    """

    node: onnx_ir.Node
    rows: int | str
    operator: str
    parameters: Sequence[onnx_ir.Value | None]
    attributes: dict[str, int]

    @property
    def hidden(self) -> onnx_ir.Value:
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def graph(self) -> onnx_ir.Graph:
        graph = self.node.graph
        assert isinstance(graph, onnx_ir.Graph)
        return graph


def _picks(graph: onnx_ir.Graph) -> Iterator[Pick]:
    readers = {"GatherND": _rows_of_batches, "Gather": _one_position, "Slice": _neighbours}
    for node in graph:
        size = dims(node.inputs[0]) if node.op_type in readers else None
        if size is not None and len(size) == 3 and size[1] != 1:
            pick = readers[node.op_type](node)
            if pick is not None:
                yield pick


def _rows_of_batches(node: onnx_ir.Node) -> Pick | None:
    index = dims(node.inputs[1])
    if node.attributes.get_int("batch_dims", 0) != 1 or index is None or len(index) != 3 or index[2] != 1:
        return None
    return Pick(node, index[1], "GatherND", node.inputs[1:], {"batch_dims": 1})


def _one_position(node: onnx_ir.Node) -> Pick | None:
    index = constant(node.inputs[1])
    if node.attributes.get_int("axis", 0) != 1 or index is None or index.size != 1 or node.graph is None:
        return None
    position = _integers(node, f"position_{int(index.item())}", index.reshape(1))
    return Pick(node, 1, "Gather", [position], {"axis": 1})


def _neighbours(node: onnx_ir.Node) -> Pick | None:
    """Positions one after the other: a single one, or at most half of all."""
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
    size, rows = dims(node.inputs[0]), (dims(node.outputs[0]) or [None, None])[1]
    if size is None or axes is None or axes.tolist() != [1] or not isinstance(rows, int):
        return None
    few = rows == 1 or (isinstance(size[1], int) and 2 * rows <= size[1])
    return Pick(node, rows, "Slice", node.inputs[1:], {}) if few else None


def _narrow(pick: Pick) -> int:
    """Move a pick in front of what only it reads; returns how many products that saves rows of."""
    chain = _read_by(pick)
    products: int = sum(node.op_type == "MatMul" for node in chain)
    if not products:
        return 0
    made = {value for node in chain for value in node.outputs}
    picked: dict[onnx_ir.Value, onnx_ir.Value] = {}
    for node in chain:
        for place, value in _row_inputs(node):
            if value in made:
                continue
            if value not in picked:
                shape = _narrowed(value, pick)
                picked[value] = insert(node, pick.operator, [value, *pick.parameters], shape, pick.attributes)
            node.replace_input_with(place, picked[value])
    for value in made:
        value.shape = _narrowed(value, pick)
    _finish(pick)
    return products


def _read_by(pick: Pick) -> list[onnx_ir.Node]:
    """Nodes that work row by row for `pick` alone, in the order of the graph."""
    found: dict[onnx_ir.Node, None] = {}
    readers = {pick.node: {0}}  # node -> its inputs that have rows
    for node in _upstream(pick.graph, pick.node):
        rows = _row_inputs(node)
        if not rows or not _only_for(node, readers) or not _as_many_rows(rows, pick):
            continue
        found[node] = None
        readers[node] = {place for place, _ in rows}
    return list(found)[::-1]


def _upstream(graph: onnx_ir.Graph, last: onnx_ir.Node) -> list[onnx_ir.Node]:
    """Nodes before `last`, the nearest first."""
    nodes = list(graph)
    return nodes[: nodes.index(last)][::-1]


def _only_for(node: onnx_ir.Node, readers: dict[onnx_ir.Node, set[int]]) -> bool:
    """Whether everything that reads the node's results is in `readers`, and reads rows of them."""
    uses = [use for value in node.outputs for use in value.uses()]
    kept = any(value.is_graph_output() for value in node.outputs)
    return bool(uses) and not kept and all(use.idx in readers.get(use.node, ()) for use in uses)


def _as_many_rows(rows: list[tuple[int, onnx_ir.Value]], pick: Pick) -> bool:
    """Whether inputs have the batch and the sequence of what is picked from."""
    wanted = (dims(pick.hidden) or [])[:2]
    return all((dims(value) or [])[:2] == wanted for _, value in rows)


def _row_inputs(node: onnx_ir.Node) -> list[tuple[int, onnx_ir.Value]]:
    """Inputs `[batch, sequence, width]` whose rows the node treats one by one; [] for a node that mixes rows."""
    size = dims(node.outputs[0])
    if size is None or len(size) != 3:
        return []
    if node.op_type in ELEMENTWISE:
        return _operands(node, size)
    first = node.inputs[0]
    if first is None or len(dims(first) or ()) != 3 or not _only_first(node):
        return []
    return [(0, first)]


def _only_first(node: onnx_ir.Node) -> bool:
    """Whether rows come by the first input alone."""
    if node.op_type == "MatMul":
        factor = node.inputs[1]
        return factor is not None and factor.is_initializer() and len(factor.shape or ()) == 2
    if node.op_type == "Split":
        return node.attributes.get_int("axis", 0) in (-1, 2)
    if node.op_type in NORMS:
        return node.attributes.get_int("axis", -1) in (-1, 2) and len(node.outputs) == 1
    if node.domain == MICROSOFT and node.op_type == "MultiHeadAttention":
        rest = [*node.inputs, *[None] * 8]
        causal = node.attributes.get_int("unidirectional", 0)
        packed = rest[1] is None or rest[2] is None or len(dims(rest[1]) or ()) != 3
        return not causal and not packed and all(rest[place] is None for place in (BIAS_OF_SCORES, *PAST))
    return False


def _operands(node: onnx_ir.Node, size: list[int | str]) -> list[tuple[int, onnx_ir.Value]]:
    """Operands of an elementwise node that have rows; [] where one has them in a way that picking cannot follow."""
    found = []
    for place, value in enumerate(node.inputs):
        if value is None or _has_no_rows(value):
            continue
        if len(dims(value) or ()) != 3 or (dims(value) or [])[:2] != size[:2]:
            return []
        found.append((place, value))
    return found


def _has_no_rows(value: onnx_ir.Value) -> bool:
    """Whether a value is the same for every row: at most one dimension, or 1 where the rows are."""
    if value.shape is None:
        return False
    size = list(value.shape)
    return len(size) < 2 or (size[-2] == 1 and all(dim == 1 for dim in size[:-2]))


def _narrowed(value: onnx_ir.Value, pick: Pick) -> onnx_ir.Shape:
    """The shape of a value that has the picked rows alone."""
    batch, _, width = dims(value) or []
    return onnx_ir.Shape([batch, pick.rows, width])


def _finish(pick: Pick) -> None:
    """The node is given those rows alone that it wants: what is left of it is to drop their dimension, or nothing."""
    node = pick.node
    if node.op_type == "Gather":
        old = node.inputs[1]
        assert old is not None
        first = _integers(node, "first_position", np.zeros([int(dim) for dim in old.shape or ()]))
        node.replace_input_with(1, first)
        return
    onnx_ir.convenience.replace_all_uses_with(node.outputs[0], pick.hidden, replace_graph_outputs=True)
    pick.graph.remove(node, safe=True)


def _integers(node: onnx_ir.Node, name: str, numbers: np.ndarray) -> onnx_ir.Value:
    assert isinstance(node.graph, onnx_ir.Graph)
    return add_initializer(node.graph, name, onnx_ir.tensor(numbers.astype(np.int64)))
