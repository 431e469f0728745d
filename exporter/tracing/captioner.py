"""Captioning models that are no encoder–decoder to transformers: `generate()` steps one language model that reads the
image in its first step. GIT takes the image as a prefix that attends within itself; BLIP attends to it in every layer,
and keeps what it attended to.

No architecture is named. `generate()` is watched on a sample: which language model does it step, with which arguments,
and where do those come from? From that follow two graphs, as on the fallback path:

    prefill:  pixel_values, input_ids, position_ids, ...  ->  logits, states
    decode:   input_ids, position_ids, ..., states        ->  logits, states
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree
from transformers import GenerationMixin

from exporter.quiet import quiet
from exporter.tracing.adapter import TraceRequest, leaf_tensors, register_caches, trace
from exporter.tracing.causal_lm import DTYPES, Traced, context_length
from exporter.tracing.fallback import AUTO, BATCH, LONG, SHORT, dim_name, free_dims
from runtime.bundle import CacheSpec
from runtime.errors import ExportError

PIXELS, CACHE = "pixel_values", "past_key_values"
# What the runtime knows by itself in every step.
TOKEN_INPUTS = ("input_ids", "attention_mask", "position_ids", "cache_position")
FLAGS = ("use_cache", "return_dict")
REASON = "its language model reads the image in its first step, in code of its own"

Arguments = dict[str, Any]


@dataclass
class Call:
    """One call that was seen: of whom, with what, and what came out."""

    module: Any
    arguments: Arguments
    output: Any = None

    @property
    def tensors(self) -> Arguments:
        """The arguments that hold tensors."""
        return {name: value for name, value in self.arguments.items() if leaf_tensors({name: value})}

    @property
    def constants(self) -> Arguments:
        """The others that say something."""
        known = {*self.tensors, *FLAGS, CACHE}
        return {name: value for name, value in self.arguments.items() if name not in known and value is not None}


@dataclass
class Watched:
    """What `generate()` did: language models that were stepped, calls that read pixels, and its inner parameters."""

    steps: list[Call] = field(default_factory=list)
    readers: list[Call] = field(default_factory=list)
    parameters: Arguments = field(default_factory=dict)

    @property
    def reader(self) -> Call | None:
        """The call that made an argument of the first step, None where the language model takes pixels itself."""
        return next((call for call in self.readers if self.image_of(call)), None)

    def image_of(self, call: Call) -> tuple[str, str] | None:
        """(argument of the first step, output of the reader) that are the same tensor."""
        outputs = call.output.items() if hasattr(call.output, "items") else ()
        for (name, value), (key, found) in itertools.product(self.steps[0].arguments.items(), outputs):
            if isinstance(value, torch.Tensor) and found is value:
                return name, key
        return None


def steps_language_model(model: Any) -> bool:
    """Whether a captioning model is no encoder–decoder: its `forward` takes no `decoder_input_ids`."""
    return "decoder_input_ids" not in inspect.signature(model.forward).parameters


def trace_captioner(model: Any, pixels: torch.Tensor, opset: int, max_length: int | None = None) -> Traced:
    """Trace `prefill` and `decode`. pixels: a sample `[>= BATCH, 3, height, width]`.

    max_length: most tokens of a text that the bundle promises. Raises `ExportError` where `generate()` does something
    else than to step one language model.
    """
    pixels = pixels[:BATCH].to(model.dtype)
    short, long = (watch(model, pixels, length) for length in (SHORT, LONG))
    register_caches(short.steps[0].module)
    graphs, states = {}, state_names(short.steps[1])
    dims = free_dims(graph_inputs(short, 1), graph_inputs(long, 1))
    outputs = [["batch", *("total_sequence" if flag else None for flag in dims[path][1:])] for path in states]
    for name, step in (("prefill", 0), ("decode", 1)):
        inputs = graph_inputs(short, step)
        free = free_dims(inputs, graph_inputs(long, step))
        graphs[name] = trace(
            step_request(model, CaptionStep(short, step, inputs), inputs, free, states, outputs, opset)
        )
    known = {name: present(name) for name in states.values()}
    cache = CacheSpec("states", context_length(model, max_length), DTYPES[model.dtype], state_names=known)
    return Traced(graphs, "fallback", REASON, cache)


def watch(model: Any, pixels: torch.Tensor, length: int | None, tokens: int = 2) -> Watched:
    """Two steps of `generate()` on a prompt of `length` tokens, or on none."""
    seen = Watched()
    prompt: Arguments = {}
    if length is not None:
        size = model.config.get_text_config(decoder=True).vocab_size
        ids = torch.arange(BATCH * length, device=model.device).reshape(BATCH, length) % (size - 6) + 5
        prompt = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    options = {"do_sample": False, "num_beams": 1, "max_new_tokens": tokens, "min_new_tokens": tokens}
    with quiet(), torch.no_grad(), watching(model, seen):
        model.generate(pixel_values=pixels, **prompt, **options)
    owners = {id(call.module) for call in seen.steps}
    if len(seen.steps) != tokens or len(owners) != 1:
        raise ExportError(
            f"{type(model).__name__} cannot be exported for captioning yet: generate() took {len(seen.steps)} steps of "
            f"{len(owners)} language models for {tokens} tokens"
        )
    return seen


@contextmanager
def watching(model: Any, seen: Watched) -> Iterator[None]:
    """Record the calls of language models with a cache and of modules that are given pixels, while it lasts."""
    handles = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(before(seen), with_kwargs=True))
        handles.append(module.register_forward_hook(after(seen), with_kwargs=True))
    inner = [m for m in model.modules() if isinstance(m, GenerationMixin) and m is not model]
    for module in inner:
        module.generate = noting(module.generate, seen)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in inner:
            del module.generate


def before(seen: Watched) -> Callable[..., None]:
    """Notes a step before it happens: the cache is a copy, as it was."""

    def hook(module: Any, args: tuple[Any, ...], kwargs: Arguments) -> None:
        if isinstance(module, GenerationMixin) and CACHE in kwargs:
            bound = bind(module, args, kwargs)
            seen.steps.append(Call(module, {**bound, CACHE: copy.deepcopy(bound[CACHE])}))

    return hook


def after(seen: Watched) -> Callable[..., None]:
    """Notes what a module made of pixels."""

    def hook(module: Any, args: tuple[Any, ...], kwargs: Arguments, output: Any) -> None:
        if PIXELS in kwargs:
            seen.readers.append(Call(module, bind(module, args, kwargs), output))

    return hook


def noting(generate: Callable[..., Any], seen: Watched) -> Callable[..., Any]:
    """An inner model's `generate` that keeps the parameters which it is given without a tensor."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        seen.parameters |= {name: value for name, value in kwargs.items() if isinstance(value, (int, float, list))}
        return generate(*args, **kwargs)

    return noted


def bind(module: Any, args: tuple[Any, ...], kwargs: Arguments) -> Arguments:
    """Arguments of a call by name."""
    names = list(inspect.signature(module.forward).parameters)
    return {**dict(zip(names, args, strict=False)), **kwargs}


def graph_inputs(seen: Watched, step: int) -> Arguments:
    """What a step's graph is given, in this order: pixels where they are read, tokens, the cache."""
    call = seen.steps[step]
    reader = seen.reader
    pixels = reader.arguments[PIXELS] if reader is not None else call.arguments.get(PIXELS)
    first = {PIXELS: pixels.to(torch.float32)} if step == 0 and pixels is not None else {}
    return first | {name: value for name, value in call.tensors.items() if name in (*TOKEN_INPUTS, CACHE)}


class CaptionStep(torch.nn.Module):  # type: ignore[misc]
    """One step: its inputs, flat -> logits of the last token as float32, then the tensors of the cache."""

    def __init__(self, seen: Watched, step: int, inputs: Arguments) -> None:
        super().__init__()
        call, reader = seen.steps[step], seen.reader
        self.language = call.module
        self.spec = pytree.tree_flatten(inputs)[1]
        self.reader = reader.module if reader is not None and step == 0 else None
        self.reading = reader.constants if reader is not None else {}
        self.image = seen.image_of(reader) if reader is not None else None
        self.constants = call.constants
        made = {*inputs, *(self.image[:1] if self.image and step == 0 else ())}
        self.fillings = {name: filling(name, value, step) for name, value in call.tensors.items() if name not in made}

    def forward(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        inputs = pytree.tree_unflatten(tensors, self.spec)
        arguments = {**self.constants, **inputs}
        batch = inputs["input_ids"].shape[0]
        arguments |= {name: value.expand(batch, *value.shape[1:]) for name, value in self.fillings.items()}
        if PIXELS in inputs:
            arguments[PIXELS] = inputs[PIXELS].to(self.language.dtype)
        if self.reader is not None and self.image is not None:
            output = self.reader(**self.reading, **{PIXELS: arguments.pop(PIXELS)}, return_dict=True)
            arguments[self.image[0]] = output[self.image[1]]
        output = self.language(**arguments, use_cache=True, return_dict=True)
        states = leaf_tensors(output[CACHE]).values()
        # Clones: a state that passes through unchanged must still be an output of its own.
        return [output.logits[:, -1:].to(torch.float32), *(state.clone() for state in states)]


def filling(name: str, value: Any, step: int) -> torch.Tensor:
    """One row of an argument that no input gives: all its elements equal, or, in later steps, of no account.

    What a later step still carries about the image is in the cache already. NaN says so: were it looked at for more
    than its shape, no answer would pass the validation.
    """
    constant = isinstance(value, torch.Tensor) and bool((value == value.flatten()[0]).all())
    if constant:
        return value[:1].clone()
    if step == 0 or not isinstance(value, torch.Tensor) or not value.is_floating_point():
        raise ExportError(f"generate() passes {name}, which follows neither from the image nor from the tokens")
    return torch.full_like(value[:1], float("nan"))


def state_names(decode: Call) -> dict[str, str]:
    """Path of each of the cache's tensors -> its name as a graph input, as optimum has them."""
    paths = [path for path in leaf_tensors(decode.arguments) if path.startswith(f"{CACHE}.")]
    kinds = {"self_attention_cache": "decoder", "cross_attention_cache": "encoder"}
    named = {}
    for path in paths:
        parts = [kinds.get(part, part) for part in path.split(".")[1:] if part != "layers"]
        kind, (layer, what) = parts[:-2], parts[-2:]
        named[path] = ".".join([CACHE, layer, *kind, what.removesuffix("s")])
    return named


def present(name: str) -> str:
    """A state's name as a graph output."""
    return name.replace(CACHE, "present", 1)


def step_request(
    model: Any,
    module: CaptionStep,
    inputs: Arguments,
    free: dict[str, list[bool]],
    states: dict[str, str],
    outputs: list[list[str | None]],
    opset: int,
) -> TraceRequest:
    """What to trace for a step: the batch and whatever follows the prompt's length are free."""
    names = {path: states.get(path, path) for path in leaf_tensors(inputs)}
    flags = {path: [axis == 0 or flag for axis, flag in enumerate(free[path])] for path in names}
    return TraceRequest(
        module=module.eval(),
        kwargs={"tensors": pytree.tree_flatten(inputs)[0]},
        dims={"tensors": [{axis: AUTO for axis, flag in enumerate(flags[path]) if flag} for path in names]},
        input_names=list(names.values()),
        input_dims=[
            [dim_name(name, axis) if flag else None for axis, flag in enumerate(flags[path])]
            for path, name in names.items()
        ],
        output_names=["logits", *(present(name) for name in states.values())],
        output_dims=[["batch"], *outputs],
        opset=opset,
        caches_of=model,
    )


def inner_parameters(model: Any) -> Arguments:
    """Generation parameters that `generate()` settles by itself: the token it starts from, and what it hands on."""
    size = getattr(model.config, "vision_config", model.config).image_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    seen = watch(model, torch.zeros((1, 3, height, width), dtype=model.dtype, device=model.device), None)
    start = seen.steps[0].arguments["input_ids"][0].tolist()
    if len(start) != 1:
        raise ExportError(f"{type(model).__name__} starts its captions with {len(start)} tokens: not supported yet")
    handed = {name: value for name, value in seen.parameters.items() if name.endswith("_token_id")}
    return {**handed, "decoder_start_token_id": start[0]}
