"""Finds what can be quantised in a graph: products with a constant matrix, and tables that rows are gathered from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

FLOATS = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16)
# Smaller matrices and sides (the two columns of a classifier) cost accuracy and save nothing.
MIN_WEIGHTS, MIN_SIDE = 4096, 16
# Rows are gathered from smaller tables (positions, token types) as they are; tables that are output matrices too are
# quantised at any size.
MIN_TABLE = 2**18
# What may stand between the last product and an output of the graph.
TAIL = {"Reshape", "Cast", "Identity", "Add", "Mul", "Div", "Tanh", "Squeeze", "Transpose", "Where", "Softmax"}


@dataclass(frozen=True)
class Site:
    """One product `activation @ weight + bias`.

    weight: `[depth, columns]`, or `[columns, depth]` when `transposed`. nodes: what the product replaces, its last node
    giving the result. bias: `[columns]` or None.
    """

    nodes: tuple[onnx_ir.Node, ...]
    weight: onnx_ir.Value
    transposed: bool
    bias: onnx_ir.Value | None

    @property
    def activation(self) -> onnx_ir.Value:
        """`[..., depth]`."""
        value = self.nodes[0].inputs[0]
        assert value is not None
        return value

    @property
    def result(self) -> onnx_ir.Value:
        """`[..., columns]`."""
        return self.nodes[-1].outputs[0]

    @property
    def name(self) -> str:
        """The weight's, for people."""
        return str(self.weight.name)

    @property
    def depth(self) -> int:
        return sizes(self.weight)[1 if self.transposed else 0]

    @property
    def columns(self) -> int:
        return sizes(self.weight)[0 if self.transposed else 1]

    def columns_first(self) -> np.ndarray:
        """The weight as `[columns, depth]`, read from where it is now."""
        array = array_of(self.weight)
        return array if self.transposed else array.T

    def depth_first(self) -> np.ndarray:
        """The weight as `[depth, columns]`."""
        return self.columns_first().T

    def final(self) -> bool:
        """Whether only reshaping and elementwise operators stand between this product and an output of the graph."""
        return reaches_output(self.result)


@dataclass(frozen=True)
class Table:
    """A matrix `[rows, width]` of which `gathers` pick rows, and which the products in `sites` may use too (tied)."""

    weight: onnx_ir.Value
    gathers: tuple[onnx_ir.Node, ...]
    sites: tuple[Site, ...]

    @property
    def name(self) -> str:
        return str(self.weight.name)


def find_sites(graph: onnx_ir.Graph) -> list[Site]:
    """Every product with a constant matrix that is worth quantising, in the graph's order."""
    sites = (_site(node) for node in graph)
    return [site for site in sites if site is not None and _worth_it(site.weight)]


def by_activation(sites: Sequence[Site]) -> dict[onnx_ir.Value, list[Site]]:
    """The products of each activation."""
    found: dict[onnx_ir.Value, list[Site]] = {}
    for site in sites:
        found.setdefault(site.activation, []).append(site)
    return found


def find_tables(graph: onnx_ir.Graph, sites: list[Site]) -> list[Table]:
    """Tables that nothing but gathers of rows and products of `sites` use."""
    found: dict[str, Table] = {}
    for node in graph:
        weight = node.inputs[0] if node.op_type == "Gather" and node.inputs else None
        if weight is None or weight.name in found or not is_matrix(weight):
            continue
        users = [user for user, _ in weight.uses()]
        gathers = tuple(user for user in users if _gathers_rows(user))
        tied = tuple(site for site in sites if site.weight is weight and site.transposed)
        if len(gathers) + len(tied) == len(users) and (tied or int(np.prod(sizes(weight))) >= MIN_TABLE):
            found[str(weight.name)] = Table(weight, gathers, tied)
    return list(found.values())


def is_matrix(value: onnx_ir.Value) -> bool:
    """Whether a value is a constant matrix of floats."""
    tensor = value.const_value
    return value.is_initializer() and tensor is not None and tensor.dtype in FLOATS and len(tensor.shape) == 2


def sizes(value: onnx_ir.Value) -> tuple[int, ...]:
    """The shape of an initializer."""
    assert value.const_value is not None
    return tuple(int(size) for size in value.const_value.shape)


def array_of(value: onnx_ir.Value) -> np.ndarray:
    """The numbers of an initializer, as float32."""
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy()).astype(np.float32, copy=False)


def reaches_output(value: onnx_ir.Value) -> bool:
    """Follow a value through `TAIL` to the graph's outputs."""
    if value.is_graph_output():
        return True
    return any(user.op_type in TAIL and reaches_output(user.outputs[0]) for user, _ in value.uses())


def _site(node: onnx_ir.Node) -> Site | None:
    if node.domain not in ("", "ai.onnx") or len(node.inputs) < 2:
        return None
    weight = node.inputs[1]
    if weight is None or not is_matrix(weight) or node.inputs[0] is weight:
        return None
    if node.op_type == "MatMul":
        addition = _bias_behind(node, weight)
        return (
            Site((node,), weight, False, None)
            if addition is None
            else Site((node, addition[0]), weight, False, addition[1])
        )
    return _gemm_site(node, weight) if node.op_type == "Gemm" else None


def _gemm_site(node: onnx_ir.Node, weight: onnx_ir.Value) -> Site | None:
    attributes = node.attributes
    transposed = bool(attributes.get_int("transB", 0))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    plain = attributes.get_float("alpha", 1.0) == 1.0 and not attributes.get_int("transA", 0)
    columns = sizes(weight)[0 if transposed else 1]
    if not plain or (bias is not None and (attributes.get_float("beta", 1.0) != 1.0 or not _is_bias(bias, columns))):
        return None
    return Site((node,), weight, transposed, bias)


def _bias_behind(node: onnx_ir.Node, weight: onnx_ir.Value) -> tuple[onnx_ir.Node, onnx_ir.Value] | None:
    """The addition of a constant `[columns]` that alone uses the product."""
    users = node.outputs[0].uses()
    if len(users) != 1 or node.outputs[0].is_graph_output():
        return None
    user = next(iter(users))[0]
    others = [value for value in user.inputs if value is not None and value is not node.outputs[0]]
    if user.op_type == "Add" and len(others) == 1 and _is_bias(others[0], sizes(weight)[1]):
        return user, others[0]
    return None


def _is_bias(value: onnx_ir.Value, columns: int) -> bool:
    return value.is_initializer() and value.const_value is not None and sizes(value) == (columns,)


def _gathers_rows(node: onnx_ir.Node) -> bool:
    return node.op_type == "Gather" and node.domain in ("", "ai.onnx") and node.attributes.get_int("axis", 0) == 0


def _worth_it(weight: onnx_ir.Value) -> bool:
    shape = sizes(weight)
    return min(shape) >= MIN_SIDE and shape[0] * shape[1] >= MIN_WEIGHTS
