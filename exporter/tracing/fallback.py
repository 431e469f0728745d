"""The fallback path of causal LMs whose attention or state is their own: slower, always right.

Two graphs that hand named states from one step to the next: `prefill` (a prompt from nothing) and `decode` (one token
more). The states are whatever the model's cache holds: keys and values that grow, convolution or recurrent states.
transformers' own `generate()` is run to see which inputs the model gets and what its cache looks like.

A model that loops over the prompt in Python (Mamba without its CUDA kernels) cannot be traced for any length. Where
all states have fixed sizes, the decode graph alone, started from zeros, reads the prompt token by token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir
import torch
from torch.utils import _pytree as pytree

from exporter.tracing.adapter import TraceRequest, captured_steps, leaf_tensors, register_caches, trace
from runtime.errors import ExportError

AUTO = torch.export.Dim.AUTO
# Lengths of two sample prompts: dimensions that differ between them are free, all others but the batch are fixed.
BATCH, SHORT, LONG = 2, 7, 9
FLAGS = ("use_cache", "return_dict")


@dataclass(frozen=True)
class Fallback:
    """The traced graphs, and how states go round.

    state_names: input of `decode` -> output of both graphs. initial_states: shape without the batch of each state, by
    its input name, when there is no `prefill` graph.
    """

    graphs: dict[str, onnx_ir.Model]
    state_names: dict[str, str]
    initial_states: dict[str, list[int]]


class FallbackStep(torch.nn.Module):  # type: ignore[misc]
    """One step: the tensors among the model's own arguments, flat -> last logits, then the tensors of its cache."""

    def __init__(self, model: Any, spec: Any, cache_name: str) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.cache_name = cache_name

    def forward(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        arguments = pytree.tree_unflatten(tensors, self.spec)
        output = self.model(**arguments, use_cache=True, return_dict=True)
        states = leaf_tensors(output[self.cache_name]).values()
        # Clones: a state that passes through unchanged must still be an output of its own.
        return [output.logits[:, -1:].to(torch.float32), *(state.clone() for state in states)]


@dataclass(frozen=True)
class Step:
    """The arguments of one forward pass for the short sample prompt, and which of their dimensions are free."""

    arguments: dict[str, Any]
    cache_name: str
    free: dict[str, list[bool]]

    @property
    def states(self) -> dict[str, torch.Tensor]:
        """The cache's tensors by their names as graph inputs."""
        cache = {self.cache_name: self.arguments.get(self.cache_name)}
        return {state_name("past", leaf): tensor for leaf, tensor in leaf_tensors(cache).items()}


def trace_fallback(model: Any, opset: int) -> Fallback:
    """Trace `prefill` and `decode`. Raises `ExportError` when a free dimension was specialised."""
    register_caches(model)
    prefill, decode = sample_steps(model)
    states = list(decode.states)
    state_names = {name: name.replace("past", "present", 1).replace("present_key_values", "present") for name in states}
    outputs = list(state_names.values())
    dims = state_dims(decode)
    graphs = {"decode": trace(step_request(model, decode, outputs, dims, opset))}
    if not any("total_sequence" in names for names in dims):
        shapes = {name: list(tensor.shape[1:]) for name, tensor in decode.states.items()}
        return Fallback(graphs, state_names, shapes)
    graphs["prefill"] = trace(step_request(model, prefill, outputs, dims, opset))
    return Fallback(graphs, state_names, {})


def sample_steps(model: Any) -> tuple[Step, Step]:
    """The prefill and the decode step of `generate()`, with the dimensions that follow the prompt's length marked."""
    short, long = (capture(model, length) for length in (SHORT, LONG))
    cache_name = find_cache(short["decode"])
    steps = [Step(short[name], cache_name, free_dims(short[name], long[name])) for name in ("prefill", "decode")]
    return steps[0], steps[1]


def capture(model: Any, length: int) -> dict[str, dict[str, Any]]:
    """Arguments that hold tensors, of the first two forward passes of `generate()` on prompts of `length` tokens."""
    ids = torch.arange(BATCH * length, device=model.device).reshape(BATCH, length) % (model.config.vocab_size - 1) + 1
    steps = captured_steps(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    return {name: {k: v for k, v in step.items() if leaf_tensors(v)} for name, step in steps.items()}


def find_cache(decode: Mapping[str, Any]) -> str:
    """The argument that carries the cache: the one that is no tensor but holds some."""
    found = [name for name, value in decode.items() if not isinstance(value, torch.Tensor)]
    if not found:
        raise ExportError("this architecture keeps nothing between steps: text generation without a cache has no path")
    return found[0]


def free_dims(short: dict[str, Any], long: dict[str, Any]) -> dict[str, list[bool]]:
    """For each tensor, by its path, which dimensions differ between the two prompts."""
    longer = leaf_tensors(long)
    return {
        path: [a != b for a, b in zip(tensor.shape, longer[path].shape, strict=True)]
        for path, tensor in leaf_tensors(short).items()
    }


def state_dims(decode: Step) -> list[list[str | None]]:
    """Names of the free dimensions of the states that a step gives out."""
    paths = [path for path in decode.free if path.startswith(decode.cache_name)]
    return [["batch", *("total_sequence" if flag else None for flag in decode.free[path][1:])] for path in paths]


def step_request(
    model: Any, step: Step, outputs: list[str], states: list[list[str | None]], opset: int
) -> TraceRequest:
    """What to trace for a step: its tensors flat, the batch and whatever follows the prompt's length free."""
    tensors, spec = pytree.tree_flatten(step.arguments)
    paths = list(leaf_tensors(step.arguments))
    free = [[axis == 0 or flag for axis, flag in enumerate(step.free[path])] for path in paths]
    names = [state_name("past", path) if path.startswith(step.cache_name) else path for path in paths]
    return TraceRequest(
        module=FallbackStep(model, spec, step.cache_name).eval(),
        kwargs={"tensors": tensors},
        dims={"tensors": [{axis: AUTO for axis, flag in enumerate(flags) if flag} for flags in free]},
        input_names=names,
        input_dims=[
            [dim_name(name, axis) if flag else None for axis, flag in enumerate(flags)]
            for name, flags in zip(names, free, strict=True)
        ],
        output_names=["logits", *outputs],
        output_dims=[["batch"], *states],
        opset=opset,
        caches_of=model,
    )


def dim_name(tensor: str, axis: int) -> str:
    """Names of free dimensions, as optimum has them."""
    if axis == 0:
        return "batch"
    if tensor.startswith("past"):
        return "past_sequence"
    return "total_sequence" if tensor == "attention_mask" else "sequence"


def state_name(prefix: str, path: str) -> str:
    """`past_key_values.0.key` for keys and values (optimum's convention), `past.<path>` for any other state."""
    parts = [part for part in path.split(".")[1:] if part != "layers"]
    if parts[-1] in ("keys", "values"):
        return f"{prefix}_key_values.{parts[0]}.{parts[-1].removesuffix('s')}"
    return ".".join([prefix, *parts])
