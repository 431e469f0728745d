"""Float32 islands: modules of a float16 model that compute in float32, with casts at their borders.

Modules whose results leave the range of float16 on probe inputs (see `overflow.py`) get their weights and arithmetic in
float32. What an island hands on is float16 again where it fits; where it does not it stays float32, torch's promotion
carries it through sums, and every module that holds float16 weights takes its inputs in float16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_map

HALF = torch.float16
RANGE = float(torch.finfo(HALF).max)
# Islands hand on float16 up to here: other inputs than the probes may go a little further.
SAFE = RANGE / 2
# A module with more of the weights than this is no island: the model is better exported in float32.
LARGEST = 0.5
SUMS, WHOLE = "sums", "whole"


@dataclass
class Island:
    """kind: WHOLE has its weights in float32 as well, SUMS only the stream that its own code adds to.

    narrow: whether what it hands on fits into float16; it is found out while `learning`.
    """

    kind: str
    narrow: bool = True
    learning: bool = True


@dataclass
class Islands:
    """The islands of a model by module name, and the hooks that make them.

    native: modules that are given float32 by the model's own code, which knows what to do with it.
    """

    model: Any
    exact: Callable[[str], torch.nn.Module]
    native: set[str]
    found: dict[str, Island] = field(default_factory=dict)
    handles: list[Any] = field(default_factory=list)

    def add(self, name: str) -> bool:
        """Make a module an island, or more of one; False where there is nothing more to do."""
        module, island = self.model.get_submodule(name), self.found.get(name)
        whole = island is not None or next(module.children(), None) is None
        if (island is not None and island.kind == WHOLE) or (whole and size(module) > LARGEST * size(self.model)):
            return False
        self.found[name] = Island(WHOLE if whole else SUMS)
        if whole:
            widen(module, self.exact(name))
        return True

    def settle(self) -> dict[str, Island]:
        """Learn no more; the islands, in the order of the model."""
        for island in self.found.values():
            island.learning = False
        return {name: self.found[name] for name, _ in self.model.named_modules() if name in self.found}

    def apply(self) -> None:
        """Install the casts anew, for the islands there are now."""
        for handle in self.handles:
            handle.remove()
        inside = {part for name, island in self.found.items() if island.kind == WHOLE for part in self._parts(name)}
        for name, module in self.model.named_modules():
            island = self.found.get(name)
            if island is not None:
                self._cast(module, lift_stream if island.kind == SUMS else lift_all)
                self.handles.append(module.register_forward_hook(handing_on(island)))
            elif name not in inside and name not in self.native and holds_half(module):
                self._cast(module, lower_all)

    def _cast(self, module: torch.nn.Module, hook: Callable[..., Any]) -> None:
        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def _parts(self, name: str) -> list[str]:
        return [f"{name}.{part}" if part else name for part, _ in self.model.get_submodule(name).named_modules()]


def size(module: torch.nn.Module) -> int:
    """Weights of a module and its parts."""
    return sum(weight.numel() for weight in module.parameters())


def widen(module: torch.nn.Module, exact: torch.nn.Module) -> None:
    """Float32 weights for a module and its parts, those of `exact`; weights that others share stay theirs."""
    parts = dict(exact.named_modules())
    for name, part in module.named_modules():
        for key, weight in part._parameters.items():
            if weight is not None and weight.is_floating_point():
                value = parts[name]._parameters[key]
                assert value is not None
                part._parameters[key] = torch.nn.Parameter(value.detach().float().clone(), requires_grad=False)
        for key, buffer in part._buffers.items():
            if buffer is not None and buffer.dtype == HALF:
                part._buffers[key] = buffer.float()


def holds_half(module: torch.nn.Module) -> bool:
    """Whether a module has float16 weights of its own."""
    return any(weight is not None and weight.dtype == HALF for weight in module._parameters.values())


def lift_all(module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Everything in float32."""
    moved: tuple[Any, Any] = tree_map(lambda value: converted(value, torch.float32), (args, kwargs))
    return moved


def lower_all(module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Everything in the dtype of the module's weights."""
    dtype = next(weight.dtype for weight in module._parameters.values() if weight is not None)
    moved: tuple[Any, Any] = tree_map(lambda value: converted(value, dtype), (args, kwargs))
    return moved


def lift_stream(module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The first tensor of floats in float32: what the module adds to. Masks and rotations stay as they are."""
    for index, value in enumerate(args):
        if is_floats(value):
            return (*args[:index], value.float(), *args[index + 1 :]), kwargs
    for name, value in kwargs.items():
        if is_floats(value):
            return args, {**kwargs, name: value.float()}
    return args, kwargs


def handing_on(island: Island) -> Callable[..., Any]:
    """A hook that gives float16 where it fits. While probing it learns whether it does."""

    def hand_on(module: torch.nn.Module, args: Any, output: Any) -> Any:
        def narrowed(value: Any) -> Any:
            if not is_floats(value):
                return value
            if island.narrow and island.learning and largest(value) > SAFE:
                island.narrow = False
            return converted(value, HALF) if island.narrow else value

        if isinstance(output, dict):  # model outputs are no plain dicts: keep them whole
            return output
        return tree_map(narrowed, output)

    return hand_on


def largest(values: torch.Tensor) -> float:
    """Largest magnitude."""
    return float(values.detach().abs().max()) if values.numel() else 0.0


def is_floats(value: Any) -> bool:
    """Whether a value is a tensor of floating point numbers."""
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def converted(value: Any, dtype: torch.dtype) -> Any:
    """Tensors of floats in another dtype, everything else as it is."""
    return value.to(dtype) if is_floats(value) and value.dtype != dtype else value
