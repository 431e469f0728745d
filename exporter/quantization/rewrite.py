"""Replaces products and gathers by ONNX Runtime's quantised operators, weights attached as they will be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
import onnx_ir

from exporter.quantization.activations import Scale
from exporter.quantization.blocks import Blocks
from exporter.quantization.channels import quantize_columns
from exporter.quantization.lazy import Parts
from exporter.quantization.sites import Site, Table, by_activation, sizes

MICROSOFT = "com.microsoft"
UINT8, INT8, FLOAT = onnx_ir.DataType.UINT8, onnx_ir.DataType.INT8, onnx_ir.DataType.FLOAT
# The kernels' choice of arithmetic: 4 computes in int8, the others are 3 to 50 times slower on a CPU.
ACCURACY_LEVEL = 4


@dataclass(frozen=True)
class Recipe:
    """How the blocks of a weight are made: `compute` gives `[columns, depth]` in blocks of `size`, 4 or 8 bits."""

    bits: int
    size: int
    symmetric: bool
    compute: Callable[[], Blocks]


def dynamic_products(graph: onnx_ir.Graph, sites: Sequence[Site]) -> None:
    """Integer products of activations that are quantised as they come, once for all products that share them.

    A single product is `DynamicQuantizeMatMul`; several of one activation are `DynamicQuantizeLinear` and
    `MatMulIntegerToFloat`.
    """
    for group in by_activation(sites).values():
        if len(group) == 1:
            _dynamic_product(graph, group[0])
        else:
            quantize = onnx_ir.node("DynamicQuantizeLinear", [group[0].activation], num_outputs=3)
            codes, scale, zero = quantize.outputs
            _shared_products(graph, group, quantize, (codes, scale, zero))


def fixed_products(graph: onnx_ir.Graph, scales: Mapping[Site, Scale]) -> None:
    """Integer products of activations with fixed scales: `QuantizeLinear`, once for all products that share one, and
    `MatMulIntegerToFloat`.

    `QLinearMatMul` and `QGemm` would hand on 8 bits: they round once more, and their kernels take 1 to 2 times as long
    (depths and widths of 768 and 3072, 8 to 1024 rows, AVX-512 VNNI).
    """
    for activation, group in by_activation(list(scales)).items():
        found = scales[group[0]]
        parts = (("scale", FLOAT, np.array(found.scale)), ("zero_point", UINT8, np.array(found.zero, np.uint8)))
        constants = [_constant(graph, f"{activation.name}.{part}", dtype, array) for part, dtype, array in parts]
        quantize = onnx_ir.node("QuantizeLinear", [activation, *constants])
        _shared_products(graph, group, quantize, (quantize.outputs[0], *constants))


def _dynamic_product(graph: onnx_ir.Graph, site: Site) -> None:
    codes, scales = _columns(graph, site)
    inputs = [site.activation, codes, scales, None, site.bias]
    _replace(graph, site, onnx_ir.node("DynamicQuantizeMatMul", inputs, domain=MICROSOFT))


def _shared_products(
    graph: onnx_ir.Graph, group: Sequence[Site], quantize: onnx_ir.Node, quantised: tuple[onnx_ir.Value, ...]
) -> None:
    """Products of what the node `quantize` gives: codes, scale and zero point of their activation."""
    first = min((site.nodes[0] for site in group), key=list(graph).index)
    graph.insert_before(first, quantize)
    codes_in, scale_in, zero_in = quantised
    for site in group:
        codes, scales = _columns(graph, site)
        inputs = [codes_in, codes, scale_in, scales, zero_in, None, site.bias]
        _replace(graph, site, onnx_ir.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT))


def _columns(graph: onnx_ir.Graph, site: Site) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    """int8 codes `[depth, columns]` and scales `[columns]` of a site's weight, under names of its own."""
    name = own_name(graph, f"{site.name}.int8")

    def compute() -> dict[str, np.ndarray]:
        return dict(zip(("codes", "scales"), quantize_columns(site.depth_first()), strict=True))

    parts = Parts(compute)
    codes = parts.value(name, "codes", INT8, (site.depth, site.columns))
    scales = parts.value(f"{name}.scale", "scales", FLOAT, (site.columns,))
    return _register(graph, codes), _register(graph, scales)


def own_name(graph: onnx_ir.Graph, name: str) -> str:
    """A name for the int8 weight of one node; those of further nodes that read the same weight are numbered.

    Equal bytes are stored once, whatever their names. One initializer for several nodes would not load on x86 CPUs
    without VNNI: what ONNX Runtime (1.31) makes of it there, to be exact, has one name for all of them. Source:
    onnxruntime/core/optimizer/qdq_transformer/avx2_weight_s8_to_u8.cc, added in
    https://github.com/microsoft/onnxruntime/pull/12088; drop once fixed.
    """
    names = chain([name], (f"{name}.{number}" for number in count(2)))
    return next(found for found in names if found not in graph.initializers)


def block_product(graph: onnx_ir.Graph, site: Site, recipe: Recipe) -> None:
    """`MatMulNBits`: the weight in blocks, made by `recipe` when it is written."""
    inputs = [site.activation, *block_values(graph, site.weight, (site.columns, site.depth), recipe)]
    inputs += [None] * (4 - len(inputs)) + [None, site.bias]
    attributes = {"K": site.depth, "N": site.columns, "bits": recipe.bits, "block_size": recipe.size}
    node = onnx_ir.node("MatMulNBits", inputs, {**attributes, "accuracy_level": ACCURACY_LEVEL}, domain=MICROSOFT)
    _replace(graph, site, node)


def block_table(graph: onnx_ir.Graph, table: Table, recipe: Recipe) -> None:
    """`GatherBlockQuantized`: its bytes are those of the tied `MatMulNBits`, under another shape.

    Its width must be a multiple of the size of blocks.
    """
    rows, width = sizes(table.weight)
    shape = rows, width * recipe.bits // 8
    _, *ranges = block_values(graph, table.weight, (rows, width), recipe)
    parts = Parts(lambda: {"codes": recipe.compute().packed_codes().reshape(shape)})
    codes = _register(graph, parts.value(f"{table.name}.{recipe.bits}bit.rows", "codes", UINT8, shape))
    attributes = {"bits": recipe.bits, "block_size": recipe.size, "gather_axis": 0, "quantize_axis": 1}
    for gather in table.gathers:
        node = onnx_ir.node("GatherBlockQuantized", [codes, gather.inputs[1], *ranges], attributes, domain=MICROSOFT)
        _replace_nodes(graph, (gather,), node)


def block_values(
    graph: onnx_ir.Graph,
    weight: onnx_ir.Value,
    shape: tuple[int, int],
    recipe: Recipe,
) -> list[onnx_ir.Value]:
    """Codes, scales and, for asymmetric blocks, zero points of a weight `[columns, depth]`; made once per weight."""
    prefix = f"{weight.name}.{recipe.bits}bit"
    names = [f"{prefix}.{part}" for part in ("codes", "scale", "zero_point")]
    made = [graph.initializers[name] for name in names if name in graph.initializers]
    return made or [_register(graph, value) for value in _block_parts(weight, names, shape, recipe)]


def _block_parts(
    weight: onnx_ir.Value,
    names: Sequence[str],
    shape: tuple[int, int],
    recipe: Recipe,
) -> list[onnx_ir.Value]:
    assert weight.const_value is not None
    columns, count = shape[0], -(-shape[1] // recipe.size)
    dtype = weight.const_value.dtype

    def arrays() -> dict[str, np.ndarray]:
        blocks = recipe.compute()
        zero_points = blocks.packed_zero_points()
        scales = blocks.scales.astype(dtype.numpy())
        return {"codes": blocks.packed_codes(), "scales": scales} | (
            {} if zero_points is None else {"zero_points": zero_points}
        )

    parts = Parts(arrays)
    values = [
        parts.value(names[0], "codes", UINT8, (columns, count, recipe.size * recipe.bits // 8)),
        parts.value(names[1], "scales", dtype, (columns, count)),
    ]
    if recipe.symmetric:
        return values
    return [*values, parts.value(names[2], "zero_points", UINT8, (columns, -(-count * recipe.bits // 8)))]


def drop_unused(model: onnx_ir.Model) -> None:
    """Remove initializers that nothing reads any more, and declare ONNX Runtime's operators."""
    graph = model.graph
    for name in [
        name for name, value in graph.initializers.items() if not value.uses() and not value.is_graph_output()
    ]:
        del graph.initializers[name]
    model.opset_imports.setdefault(MICROSOFT, 1)


def _constant(graph: onnx_ir.Graph, name: str, dtype: onnx_ir.DataType, array: np.ndarray) -> onnx_ir.Value:
    tensor = onnx_ir.Tensor(array, dtype=dtype, name=name)
    value = onnx_ir.Value(name=name, shape=tensor.shape, type=onnx_ir.TensorType(dtype), const_value=tensor)
    return _register(graph, value)


def _register(graph: onnx_ir.Graph, value: onnx_ir.Value) -> onnx_ir.Value:
    graph.register_initializer(value)
    return value


def _replace(graph: onnx_ir.Graph, site: Site, node: onnx_ir.Node) -> None:
    _replace_nodes(graph, site.nodes, node)


def _replace_nodes(graph: onnx_ir.Graph, old: Sequence[onnx_ir.Node], node: onnx_ir.Node) -> None:
    """`node` gives the result that the last of `old` gave."""
    onnx_ir.convenience.replace_nodes_and_values(
        graph, old[-1], list(old)[::-1], [node], [old[-1].outputs[0]], [node.outputs[0]]
    )
