"""Removes reshaping and transposing that changes nothing, as torch's views leave it behind."""

from __future__ import annotations

import onnx_ir

from exporter.passes.graph import constant, dims, producer, remove_unused, same_shape


def call(model: onnx_ir.Model) -> bool:
    """Rules, until none applies:

    1. `Transpose` of a `Transpose`: one with both permutations, none where they cancel out;
    2. `Reshape` of a `Reshape`: the second alone, unless it copies dimensions of the first (zeros in its shape);
    3. `Reshape` to the shape that its input has already, as tracing knows it: none;
    4. `Concat` of all the parts of one `Split`, or of adjoining `Slice`s from first to last, in order: what was cut;
    5. the same node twice (positions, masks, shapes that every layer asks for): one.
    """
    from onnx_ir.passes.common import CommonSubexpressionEliminationPass

    modified = False
    while _once(model):
        modified = True
    modified |= bool(CommonSubexpressionEliminationPass()(model).modified)
    remove_unused(model)
    return modified


def _once(model: onnx_ir.Model) -> bool:
    rules = {"Transpose": [_try_transposes], "Reshape": [_try_same_shape, _try_reshapes], "Concat": [_try_whole]}
    modified = False
    for node in list(model.graph):
        if node.graph is not None and any(rule(node) for rule in rules.get(node.op_type, ())):
            modified = True
    remove_unused(model)
    return modified


def _replace(node: onnx_ir.Node, value: onnx_ir.Value | None) -> bool:
    """Everybody reads `value` instead of the node's output."""
    if value is None or node.outputs[0].is_graph_output():
        return False
    onnx_ir.convenience.replace_all_uses_with(node.outputs[0], value)
    assert node.graph is not None
    node.graph.remove(node, safe=True)
    return True


def _try_transposes(node: onnx_ir.Node) -> bool:
    first = producer(node.inputs[0], "Transpose")
    if first is None or "perm" not in first.attributes or "perm" not in node.attributes:
        return False
    inner, outer = first.attributes["perm"].as_ints(), node.attributes["perm"].as_ints()
    both = [inner[axis] for axis in outer]
    if both == sorted(both):
        return _replace(node, first.inputs[0])
    node.replace_input_with(0, first.inputs[0])
    node.attributes["perm"] = onnx_ir.AttrInt64s("perm", both)
    return True


def _try_same_shape(node: onnx_ir.Node) -> bool:
    return same_shape(node.inputs[0], node.outputs[0]) and _replace(node, node.inputs[0])


def _try_reshapes(node: onnx_ir.Node) -> bool:
    first = producer(node.inputs[0], "Reshape")
    if first is None:
        return False
    shape = constant(node.inputs[1])
    keeps_zeros = node.attributes.get_int("allowzero", 0) == 1
    if not keeps_zeros and (shape is None or 0 in shape):
        return False
    node.replace_input_with(0, first.inputs[0])
    return True


def _try_whole(node: onnx_ir.Node) -> bool:
    sources = [value.producer() if value is not None else None for value in node.inputs]
    if any(source is None for source in sources):
        return False
    return _try_split_parts(node, sources) or _try_slices(node, sources)  # type: ignore[arg-type]


def _axis(node: onnx_ir.Node, rank: int) -> int:
    return int(node.attributes.get_int("axis", 0)) % rank


def _try_split_parts(node: onnx_ir.Node, sources: list[onnx_ir.Node]) -> bool:
    split = sources[0]
    if split.op_type != "Split" or list(node.inputs) != list(split.outputs):
        return False
    rank = len(dims(split.inputs[0]) or ())
    if not rank or _axis(node, rank) != _axis(split, rank):
        return False
    return _replace(node, split.inputs[0])


def _try_slices(node: onnx_ir.Node, sources: list[onnx_ir.Node]) -> bool:
    whole = sources[0].inputs[0] if sources[0].inputs else None
    size = dims(whole)
    if not size or any(source.op_type != "Slice" or source.inputs[0] is not whole for source in sources):
        return False
    axis, place = _axis(node, len(size)), 0
    if not isinstance(size[axis], int):
        return False
    for source in sources:
        bounds = _bounds(source, axis, len(size), size[axis])
        if bounds is None or bounds[0] != place:
            return False
        place = bounds[1]
    return place == size[axis] and _replace(node, whole)


def _bounds(node: onnx_ir.Node, axis: int, rank: int, size: int) -> tuple[int, int] | None:
    """[begin, end) of a slice along one axis alone."""
    inputs = [*node.inputs, *[None] * (5 - len(node.inputs))]
    starts, ends, axes, steps = (constant(value) for value in inputs[1:5])
    if starts is None or ends is None or axes is None or len(axes) != 1 or (inputs[4] is not None and steps is None):
        return None
    if int(axes[0]) % rank != axis or (steps is not None and int(steps[0]) != 1):
        return None
    begin, end, _ = slice(int(starts[0]), int(ends[0])).indices(size)
    return begin, end
