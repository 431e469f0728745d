"""The one place that touches `transformers.exporters`, which is experimental: its patches, fixes and translation table.

Everything private of transformers that tracing needs goes through here, so that a new release breaks one file.
Written against transformers 5.23 (see the range in pyproject.toml).
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir
import torch
from onnxscript.rewriter._matcher import SimplePatternMatcher
from transformers.exporters.exporter_dynamo import register_cache_pytrees_for_model, reset_model_state
from transformers.exporters.exporter_onnx import _ONNX_TRANSLATION_TABLE, apply_onnx_ir_fixes
from transformers.exporters.utils import (
    apply_fx_node_fixes,
    apply_patches,
    decompose_prefill_decode,
    get_leaf_tensors,
)

from exporter.tracing.expert_weights import lay_out_experts
from exporter.tracing.experts import emitted_experts
from exporter.tracing.half_guards import OverflowBranches
from exporter.tracing.modules import emitted_modules
from exporter.tracing.untraceable import in_one_line
from runtime.errors import ExportError


@dataclass(frozen=True)
class TraceRequest:
    """What to trace: a module, its sample keyword arguments, which dimensions are free and what they are called.

    dims: torch.export's `dynamic_shapes` for `kwargs`. input_dims, output_dims: for each tensor, in the order of its
    name, the name of each dimension, or None where it is fixed. caches_of: the model whose cache classes may appear.
    """

    module: torch.nn.Module
    kwargs: dict[str, Any]
    dims: Mapping[str, Any]
    input_names: Sequence[str]
    input_dims: Sequence[Sequence[str | None]]
    output_names: Sequence[str]
    output_dims: Sequence[Sequence[str | None]]
    opset: int
    caches_of: torch.nn.Module | None = field(default=None)


def trace(request: TraceRequest) -> onnx_ir.Model:
    """Trace to an `onnx_ir.Model` with named dimensions. Raises `ExportError` when a free dimension was specialised."""
    with (
        quiet(),
        torch.no_grad(),
        apply_patches("dynamo"),
        apply_patches("onnx"),
        emitted_experts(request.module),
        emitted_modules(request.module),
    ):
        program = _exported_program(request)
        apply_fx_node_fixes("onnx", program.graph_module)
        onnx_program = torch.onnx.export(
            program,
            args=(),
            kwargs=request.kwargs,
            input_names=list(request.input_names),
            output_names=list(request.output_names),
            custom_translation_table=_ONNX_TRANSLATION_TABLE,
            opset_version=request.opset,
            dynamo=True,
            optimize=True,
        )
        apply_onnx_ir_fixes(onnx_program)
    forget_matches()
    model: onnx_ir.Model = onnx_program.model
    lay_out_experts(model)
    name_dims(model.graph.inputs, request.input_names, request.input_dims)
    name_dims(model.graph.outputs, request.output_names, request.output_dims)
    return model


def forget_matches() -> None:
    """Let go of the graphs that onnxscript's rewrite rules last looked at: each matcher keeps one, with all weights."""
    for matcher in gc.get_objects():
        if type(matcher) is SimplePatternMatcher:
            vars(matcher).pop("_graph", None)
            vars(matcher).pop("_match", None)
            matcher._current_node = matcher._tracer = None


def captured_steps(model: Any, inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Keyword arguments of the first two forward passes under `generate()`: `{"prefill": ..., "decode": ...}`."""
    config = copy.deepcopy(model.generation_config)
    config.use_cache = True  # some models have one and leave it off by default (MPT)
    with quiet():
        steps = decompose_prefill_decode(model, inputs, config)
    return {name: arguments for name, (_, arguments) in steps.items()}


def leaf_tensors(value: Any) -> dict[str, torch.Tensor]:
    """Every tensor in a nested value, caches included, by its dotted path, in the order that flattening gives."""
    tensors: dict[str, torch.Tensor] = get_leaf_tensors(value)
    return tensors


def register_caches(model: torch.nn.Module) -> None:
    """Let torch flatten the cache classes that `model` uses; to be called before `tree_flatten` meets one."""
    register_cache_pytrees_for_model(model)


def _exported_program(request: TraceRequest) -> Any:
    owner = request.caches_of
    if owner is not None:
        register_caches(owner)
    model = owner if owner is not None else request.module
    with reset_model_state(model), in_one_line(type(model).__name__), OverflowBranches():
        return torch.export.export(
            request.module,
            args=(),
            kwargs=request.kwargs,
            dynamic_shapes=request.dims,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def name_dims(values: Sequence[onnx_ir.Value], names: Sequence[str], dims: Sequence[Sequence[str | None]]) -> None:
    """Give each free dimension its name; one that tracing turned into a number is an error, not a limitation."""
    wanted = dict(zip(names, dims, strict=True))
    for value in values:
        assert value.name is not None and value.shape is not None
        found = list(value.shape)
        for axis, name in enumerate(wanted[value.name]):
            if name is None:
                continue
            if isinstance(found[axis], int):
                raise ExportError(
                    f"tracing fixed dimension {axis} ({name}) of {value.name!r} to {found[axis]}: "
                    "this architecture needs a path of its own; please report it"
                )
            found[axis] = onnx_ir.SymbolicDim(name)
        value.shape = onnx_ir.Shape(found)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's exporter from printing its own progress; errors still raise."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
