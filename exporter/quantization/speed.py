"""Times both ways to compute products in 8 bit on this CPU, on weights of the sizes that a model has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import onnx_ir
import onnxruntime as ort

from exporter.quantization.blocks import SIZES, fitting_size
from exporter.quantization.recipes import SIZE_8
from exporter.quantization.rewrite import ACCURACY_LEVEL, MICROSOFT
from runtime.session import session_options

Size = tuple[int, int]  # depth and columns of a weight
# Fewer weights than these take no time that matters, and what they take says nothing about larger ones.
SMALLEST = 2**22
# Weights that are timed: more than a processor's cache holds, not more than an export may hold beside the model.
LARGEST = 3 * 2**24
TURNS = 5
# How much less time weights alone must take: integer products also win with every row more than what is timed.
MARGIN = 0.9


@dataclass(frozen=True)
class Timing:
    """Milliseconds of all products, by the number of rows."""

    dynamic: dict[int, float]
    weights: dict[int, float]

    @property
    def ratio(self) -> float:
        """Time of weights alone over that of integer products: the geometric mean over the numbers of rows."""
        return float(np.exp(np.mean([np.log(self.weights[rows] / self.dynamic[rows]) for rows in self.dynamic])))

    @property
    def prefers_weights(self) -> bool:
        """Whether weights alone are clearly faster."""
        return self.ratio < MARGIN

    def sentence(self) -> str:
        """For people."""
        rows = ", ".join(str(count) for count in self.dynamic)
        return (
            f"timed here for {rows} rows: integer products {_rounded(self.dynamic)} ms, "
            f"weights alone {_rounded(self.weights)} ms"
        )

    def as_json(self) -> dict[str, dict[str, float]]:
        """For the manifest's provenance."""
        ways = {"dynamic": self.dynamic, "weights alone": self.weights}
        return {way: {f"{rows} rows": round(ms, 2) for rows, ms in found.items()} for way, found in ways.items()}


def time_products(sizes: Sequence[Size], rows: Sequence[int]) -> Timing | None:
    """Run products by random weights of these sizes, as many as `LARGEST` allows, with so many rows at a time.

    Both ways take turns in one process, with the threads that a session has by default. None for a model that is too
    small to tell.
    """
    if sum(depth * columns for depth, columns in sizes) < SMALLEST:
        return None
    chosen = within(sizes, LARGEST)
    ways = [_session(chosen, make) for make in (_integer_product, _block_product)]
    found: list[dict[int, float]] = [{}, {}]
    for count in rows:
        feeds = _activations(chosen, count)
        turns = [[_milliseconds(session, feeds) for session in ways] for _ in range(TURNS + 1)]
        for way, times in zip(found, zip(*turns[1:], strict=True), strict=True):
            way[count] = median(times)
    return Timing(*found)


def _rounded(times: dict[int, float]) -> str:
    return ", ".join(f"{ms:.1f}" for ms in times.values())


def within(sizes: Sequence[Size], limit: int) -> list[Size]:
    """The first of `sizes` that have `limit` weights together; one at least."""
    chosen: list[Size] = []
    for depth, columns in sizes:
        if chosen and sum(d * c for d, c in chosen) + depth * columns > limit:
            break
        chosen.append((depth, columns))
    return chosen


def _milliseconds(session: ort.InferenceSession, feeds: dict[str, np.ndarray]) -> float:
    started = time.perf_counter()
    session.run(None, feeds)
    return 1000 * (time.perf_counter() - started)


def _activations(sizes: Sequence[Size], rows: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {_name(depth): generator.standard_normal((rows, depth), np.float32) for depth in {d for d, _ in sizes}}


def _name(depth: int) -> str:
    return f"activations_{depth}"


Make = Callable[[onnx_ir.Value, int, int], onnx_ir.Node]


def _session(sizes: Sequence[Size], make: Make) -> ort.InferenceSession:
    """One product a size, each by a weight of its own; of the results only the greatest numbers leave the graph."""
    inputs = {depth: _value(_name(depth), [None, depth]) for depth, _ in sizes}
    nodes, outputs, constants = [], [], []
    for depth, columns in sizes:
        product = make(inputs[depth], depth, columns)
        greatest = onnx_ir.node("ReduceMax", [product.outputs[0]], {"keepdims": 0})
        greatest.outputs[0].type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
        nodes += [product, greatest]
        outputs.append(greatest.outputs[0])
        constants += [value for value in product.inputs if value is not None and value.const_value is not None]
    for index, value in enumerate(constants):
        value.name = f"constant_{index}"
    graph = onnx_ir.Graph(
        list(inputs.values()), outputs, nodes=nodes, initializers=constants, opset_imports={"": 18, MICROSOFT: 1}
    )
    options = session_options(None, spinning=True, between_runs=True)
    return ort.InferenceSession(_serialized(onnx_ir.Model(graph, ir_version=10)), options, ["CPUExecutionProvider"])


def _serialized(model: onnx_ir.Model) -> bytes:
    """The model's own weights are let go of on the way: they would be held three times."""
    proto = onnx_ir.serde.serialize_model(model)
    for value in model.graph.initializers.values():
        value.const_value = None
    found: bytes = proto.SerializeToString()
    return found


def _integer_product(activation: onnx_ir.Value, depth: int, columns: int) -> onnx_ir.Node:
    """As `rewrite.dynamic_products` has it."""
    codes = _constant(np.random.default_rng(0).integers(-127, 128, (depth, columns), np.int8))
    scales = _constant(np.full(columns, 1e-2, np.float32))
    return onnx_ir.node("DynamicQuantizeMatMul", [activation, codes, scales], domain=MICROSOFT)


def _block_product(activation: onnx_ir.Value, depth: int, columns: int) -> onnx_ir.Node:
    """As `rewrite.block_product` has it with `recipes.eight_bit`."""
    size = fitting_size(depth, SIZE_8) or SIZES[-1]
    blocks = -(-depth // size)
    codes = _constant(np.random.default_rng(0).integers(0, 256, (columns, blocks, size), np.uint8))
    scales = _constant(np.full((columns, blocks), 1e-2, np.float32))
    attributes = {"K": depth, "N": columns, "bits": 8, "block_size": size, "accuracy_level": ACCURACY_LEVEL}
    return onnx_ir.node("MatMulNBits", [activation, codes, scales], attributes, domain=MICROSOFT)


def _constant(array: np.ndarray) -> onnx_ir.Value:
    tensor = onnx_ir.tensor(array)
    value = onnx_ir.Value(shape=tensor.shape, type=onnx_ir.TensorType(tensor.dtype))
    value.const_value = tensor
    return value


def _value(name: str, shape: list[int | None]) -> onnx_ir.Value:
    return onnx_ir.Value(name=name, shape=onnx_ir.Shape(shape), type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT))
