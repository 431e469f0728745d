"""Rotary position embeddings inside of GroupQueryAttention, where the operator's rotation is the model's.

Nothing is told by names. A recorded forward pass shows which modules give cosines and sines and what queries and keys
reach attention. Then those modules hand out `Angle`s instead, which leave whatever is multiplied with them as it is, so
that attention receives queries and keys that were not turned; turning them by the operator's formula must give what was
recorded. The operator takes angles by position from a table, so the table for all positions must agree with the
recorded angles: a rotation that depends on how long a text is (dynamic NTK, LongRoPE beyond its first length) does not.

Formula and limits: onnxruntime contrib_ops/cpu/bert/group_query_attention_helper.h.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

Key = tuple[int, tuple[Any, ...]]  # a module and the arguments that are no tensors (the layer's type)
HEAD_MULTIPLE, PAIR_MULTIPLE = 16, 8
CLOSE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


class UnsupportedRotationError(Exception):
    """The operator cannot turn queries and keys as this model does."""


@dataclass(frozen=True)
class Rotation:
    """cos and sin `[positions, pairs]` of the first 2 * pairs dimensions of a head.

    interleaved: a pair are neighbours; else dimension i goes with i + pairs.
    """

    cos: torch.Tensor
    sin: torch.Tensor
    interleaved: bool

    def turn(self, heads: torch.Tensor) -> torch.Tensor:
        """`[batch, heads, sequence, head_dim]`, turned by its positions from 0 on."""
        pairs, length = self.cos.shape[1], heads.shape[2]
        cos, sin = (table[:length].to(heads.dtype) for table in (self.cos, self.sin))
        turned, rest = heads[..., : 2 * pairs], heads[..., 2 * pairs :]
        shape = (-1, 2) if self.interleaved else (2, -1)
        first, second = turned.unflatten(-1, shape).unbind(-1 if self.interleaved else -2)
        both = [first * cos - second * sin, second * cos + first * sin]
        return torch.cat([torch.stack(both, -1 if self.interleaved else -2).flatten(-2), rest], dim=-1)


@dataclass
class RotaryCall:
    """One call of a module that gives cosines and sines `[rows, sequence, width]`."""

    module: torch.nn.Module
    arguments: inspect.BoundArguments
    cos: torch.Tensor
    sin: torch.Tensor

    @property
    def key(self) -> Key:
        return call_key(self.module, self.arguments)


@dataclass
class Rotary:
    """What the attention functions know about rotations while a model is probed or traced.

    recorded: layer -> query and key after the model's own rotation. rotations: found so far, by the call that gave the
    angles. caches: the same as tensors of the module being traced. used: angles multiplied with since the last layer.
    """

    calls: dict[Key, RotaryCall] = field(default_factory=dict)
    recorded: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    candidates: dict[Key, list[Rotation]] = field(default_factory=dict)
    rotations: dict[Key, Rotation] = field(default_factory=dict)
    caches: dict[Key, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    used: list[Key] = field(default_factory=list)
    recording: bool = False

    def take(self) -> Key | None:
        """The rotation of the layer that calls attention now, None where it has none."""
        keys = set(self.used)
        self.used.clear()  # in place: angles hold on to it
        if len(keys) > 1:
            raise UnsupportedRotationError("queries and keys are turned differently")
        return next(iter(keys), None)

    def apply(self, layer: int, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn what was not turned, by the first candidate that gives what was recorded."""
        taken = self.take()
        if taken is None:
            return query, key
        known = self.rotations.get(taken)
        for rotation in [known] if known else self.candidates[taken]:
            turned = rotation.turn(query), rotation.turn(key)
            if all(agree(a, b) for a, b in zip(turned, self.recorded[layer], strict=True)):
                self.rotations[taken] = rotation
                return turned
        raise UnsupportedRotationError("queries and keys are turned in another way")


def agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal but for rounding."""
    if found.shape != expected.shape:
        return False
    difference = (found.float() - expected.float()).abs().max()
    return bool(difference <= CLOSE.get(expected.dtype, 0.0) * expected.float().abs().max().clamp(min=1e-3))


class Angle:
    """Stands in for cosines or sines: what is multiplied with a cosine stays, what is multiplied with a sine goes.

    It survives the reshaping and casting that models do to it; anything else is an error, and the model is traced
    with its own rotation.
    """

    def __init__(self, used: list[Key], key: Key, like: torch.Tensor, sine: bool, width: int | None = None) -> None:
        self.used, self.key, self.like, self.sine = used, key, like, sine
        self.width = like.shape[-1] if width is None else width

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, 1, self.width)

    @property
    def dtype(self) -> torch.dtype:
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        return self.like.device

    def _wide(self, width: int) -> Angle:
        return Angle(self.used, self.key, self.like, self.sine, width)

    def _same(self, *args: Any, **kwargs: Any) -> Angle:
        return self

    unsqueeze = squeeze = to = float = type_as = contiguous = _same

    def __getitem__(self, index: Any) -> Angle:
        last = index[-1] if isinstance(index, tuple) else slice(None)
        return self._wide(len(range(self.width)[last])) if isinstance(last, slice) else self

    def repeat_interleave(self, repeats: int, dim: int) -> Angle:
        return self._wide(self.width * repeats) if dim == -1 else self

    def __mul__(self, values: torch.Tensor) -> Any:
        self.used.append(self.key)
        return Nothing() if self.sine else values

    __rmul__ = __mul__

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.__name__ in ("mul", "__mul__", "__rmul__") and len(args) == 2:
            angle, values = args if isinstance(args[0], cls) else args[::-1]
            return angle * values
        return NotImplemented


class Nothing:
    """What a sine leaves: the other summand stays as it is."""

    def __add__(self, values: torch.Tensor) -> torch.Tensor:
        return values

    __radd__ = __add__

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, second_is_nothing = function.__name__, len(args) == 2 and isinstance(args[1], cls)
        if name in ("add", "__add__", "__radd__") and len(args) == 2:
            return args[0] if second_is_nothing else args[1]
        if name in ("sub", "__sub__") and second_is_nothing:
            return args[0]
        return NotImplemented


@contextlib.contextmanager
def recorded_angles(model: torch.nn.Module, rotary: Rotary) -> Iterator[None]:
    """Note every call inside that gives cosines and sines, and (in attention) what they made of queries and keys."""

    def note(module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if gives_angles(output):
            arguments = inspect.signature(module.forward).bind(*args, **kwargs)
            call = RotaryCall(module, arguments, *output)
            rotary.calls[call.key] = call

    leaves = [module for module in model.modules() if not module._parameters and not [*module.children()]]
    handles = [module.register_forward_hook(note, with_kwargs=True) for module in leaves]
    rotary.recording = True
    try:
        yield
    finally:
        rotary.recording = False
        for handle in handles:
            handle.remove()


def gives_angles(output: Any) -> bool:
    """Whether an output is a pair of cosines and sines, scaled or not: their squares add up to one number."""
    if not isinstance(output, tuple) or len(output) != 2 or not all(isinstance(part, torch.Tensor) for part in output):
        return False
    cos, sin = output
    if cos.shape != sin.shape or cos.dim() != 3 or not cos.is_floating_point():
        return False
    squares = cos.float().square() + sin.float().square()
    return bool((squares - squares.flatten()[0]).abs().max() < 1e-2 * squares.abs().max())


def call_key(module: torch.nn.Module, arguments: inspect.BoundArguments) -> Key:
    """The same for the same angles: models ask one module for the angles of several kinds of layers."""
    plain = [value for value in arguments.arguments.values() if isinstance(value, str | int | float | bool)]
    return id(module), tuple(plain)


@contextlib.contextmanager
def standing_in(rotary: Rotary) -> Iterator[None]:
    """Let the recorded modules give `Angle`s."""
    modules = {id(call.module): call.module for call in rotary.calls.values()}

    def stand_in(module: torch.nn.Module, original: Callable[..., Any]) -> Callable[..., tuple[Angle, Angle]]:
        signature = inspect.signature(original)

        def forward(*args: Any, **kwargs: Any) -> tuple[Angle, Angle]:
            call = rotary.calls[call_key(module, signature.bind(*args, **kwargs))]
            return Angle(rotary.used, call.key, call.cos, False), Angle(rotary.used, call.key, call.sin, True)

        return forward

    try:
        for module in modules.values():
            module.forward = stand_in(module, module.forward)
        yield
    finally:
        for module in modules.values():
            vars(module).pop("forward", None)


def find_candidates(rotary: Rotary, length: int) -> None:
    """For every recorded call the rotations that its angles could mean, for positions 0 to `length`."""
    for key, call in rotary.calls.items():
        cos, sin = tables(call, length)
        options = [(c, s, kind) for c, s in pairs(cos, sin) for kind in (False, True)]
        rotary.candidates[key] = [Rotation(*option) for option in options if option[0].shape[1] % PAIR_MULTIPLE == 0]


def tables(call: RotaryCall, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin `[length, width]`: the module's own, asked for all positions, by a copy since some keep state."""
    arguments = copy.copy(call.arguments)
    arguments.arguments = dict(call.arguments.arguments)
    found = [
        name
        for name, value in arguments.arguments.items()
        if isinstance(value, torch.Tensor) and not value.is_floating_point()
    ]
    if len(found) != 1:
        raise UnsupportedRotationError("its angles do not follow from positions alone")
    positions = torch.arange(length, device=call.cos.device)
    arguments.arguments[found[0]] = positions[None]
    with torch.no_grad():
        cos, sin = copy.deepcopy(call.module)(*arguments.args, **arguments.kwargs)
    for table, recorded in ((cos, call.cos), (sin, call.sin)):
        if not torch.equal(table[0, : recorded.shape[1]], recorded[0]) or not (recorded == recorded[:1]).all():
            raise UnsupportedRotationError("its angles depend on more than the position")
    return cos[0], sin[0]


def pairs(cos: torch.Tensor, sin: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Each angle once: models give them twice, one half after the other or as neighbours, or once."""
    half, both = cos.shape[1] // 2, (cos, sin)
    if all(torch.equal(table[:, :half], table[:, half:]) for table in both):
        yield cos[:, :half], sin[:, :half]
    elif all(torch.equal(table[:, ::2], table[:, 1::2]) for table in both):
        yield cos[:, ::2], sin[:, ::2]
    yield cos, sin
