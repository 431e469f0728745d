"""Norms and activations that emit ONNX Runtime's own operator while a model is traced.

A module is told by what it computes, not by its name: a copy of it in float32 is run on sample values and compared with
the formulas below, then the module itself in its own dtype. Those that match get another `forward` for as long as
tracing takes. Operators: onnxruntime docs/ContribOperators.md; `SimplifiedLayerNormalization` lives in the default
domain of ONNX Runtime.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

LAYER, RMS = "LayerNormalization", "SimplifiedLayerNormalization"
# Kernels exist for these; elsewhere modules are traced as they are written.
DTYPES = (torch.float32, torch.float16)
EXACT, ROUNDED = 1e-5, 2e-2  # of float32 copies; of the module itself in float16
# Besides the numbers that a module holds itself.
EPSILONS = (1e-5, 1e-6, 1e-8, 1e-12, 0.0)


@dataclass(frozen=True)
class Norm:
    """A norm over the last dimension. offset: what is added to the weight before it scales (1 in Gemma)."""

    operator: str
    epsilon: float
    offset: float


@dataclass(frozen=True)
class Activation:
    """An elementwise function and the operator that computes it."""

    operator: str
    attributes: dict[str, float]
    formula: Callable[[torch.Tensor], torch.Tensor]


ACTIVATIONS = (
    Activation("com.microsoft::Gelu", {}, functional.gelu),
    Activation("com.microsoft::FastGelu", {}, lambda x: functional.gelu(x, approximate="tanh")),
    Activation("com.microsoft::QuickGelu", {"alpha": 1.0}, functional.silu),
    Activation("com.microsoft::QuickGelu", {"alpha": 1.702}, lambda x: x * torch.sigmoid(1.702 * x)),
)


@contextlib.contextmanager
def emitted_modules(model: torch.nn.Module) -> Iterator[None]:
    """Trace inside: every norm and activation of `model` that is proven to be an operator's emits that operator."""
    replaced: list[torch.nn.Module] = []
    try:
        for module in model.modules():
            forward = emitting_forward(module)
            if forward is not None:
                module.forward = forward
                replaced.append(module)
        yield
    finally:
        for module in replaced:
            del module.forward
            module._buffers.pop("onward_scale", None)
            module._non_persistent_buffers_set.discard("onward_scale")


def emitting_forward(module: torch.nn.Module) -> Callable[..., torch.Tensor] | None:
    """What to trace instead of `module.forward`, None where it is no norm or activation that we know."""
    found = recognise(module)
    if isinstance(found, Norm):
        return norm_forward(module, found)
    return None if found is None else activation_forward(found)


def recognise(module: torch.nn.Module) -> Norm | Activation | None:
    """The norm or activation that a module is proven to be."""
    if next(module.children(), None) is not None or module._buffers or "forward" in vars(module):
        return None
    if not takes_one_tensor(module):
        return None
    try:
        return recognise_norm(module) if module._parameters else recognise_activation(module)
    except Exception:  # any module may refuse our sample: then it is something else
        return None


def takes_one_tensor(module: torch.nn.Module) -> bool:
    """Whether `forward` can be called with one argument and has no other to change its answer."""
    return len(inspect.signature(module.forward).parameters) == 1


def recognise_norm(module: torch.nn.Module) -> Norm | None:
    """The norm that `module` computes over its last dimension, proven on ordinary and on tiny values."""
    parameters = {name: value for name, value in module._parameters.items() if value is not None}
    weight = parameters.get("weight")
    if weight is None or not set(parameters) <= {"weight", "bias"} or any(p.dim() != 1 for p in parameters.values()):
        return None
    if weight.dtype not in DTYPES or isinstance(module, torch.nn.LayerNorm):  # torch's own needs no help
        return None
    plain = copy.deepcopy(module).float()
    for operator in (RMS, LAYER):
        if operator == RMS and "bias" in parameters:
            continue
        for offset in (0.0, 1.0):
            for epsilon in epsilons(module):
                norm = Norm(operator, epsilon, offset)
                if computes(plain, norm, EXACT) and (weight.dtype == torch.float32 or computes(module, norm, ROUNDED)):
                    return norm
    return None


def epsilons(module: torch.nn.Module) -> list[float]:
    """Small numbers that the module holds, under whatever name, then common ones."""
    own = [value for value in vars(module).values() if isinstance(value, float) and 0 <= value < 0.1]
    return [*dict.fromkeys([*own, *EPSILONS])]


def computes(module: torch.nn.Module, norm: Norm, tolerance: float) -> bool:
    """Whether the module agrees with the formula; tiny values are where epsilon shows.

    Its `forward` alone: hooks are casts at the borders of float32 islands.
    """
    weight = module.weight
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 3, weight.shape[0], generator=generator).to(weight.device)
    scales = (3.0, 1.0) if weight.dtype == torch.float16 else (3.0, 1e-2, max(norm.epsilon, 1e-12) ** 0.5)
    with torch.no_grad():
        for scale in scales:
            values = (sample * scale + 0.1 * scale).to(weight.dtype)
            found, expected = module.forward(values).float(), norm_formula(values.float(), module, norm)
            if found.shape != expected.shape or not close(found, expected, tolerance):
                return False
    return True


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    """Largest difference as a share of the largest value."""
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-6))


def norm_formula(values: torch.Tensor, module: torch.nn.Module, norm: Norm) -> torch.Tensor:
    """The operator in float32."""
    scale, bias = module.weight.float() + norm.offset, getattr(module, "bias", None)
    if norm.operator == LAYER:
        return functional.layer_norm(
            values, (values.shape[-1],), scale, None if bias is None else bias.float(), norm.epsilon
        )
    return values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + norm.epsilon) * scale


def norm_forward(module: torch.nn.Module, norm: Norm) -> Callable[..., torch.Tensor]:
    """A forward that emits the norm. An offset becomes part of a scale of its own.

    Values of another dtype than the weight's (float32 residuals in a float16 model) go the way that was written for
    them: the operators take one dtype.
    """
    written = module.forward
    if norm.offset:
        scale = (module.weight.detach().float() + norm.offset).to(module.weight.dtype)
        module.register_buffer("onward_scale", scale, persistent=False)

    def layer_norm(values: torch.Tensor) -> torch.Tensor:
        scale = module.onward_scale if norm.offset else module.weight
        if values.dtype != scale.dtype:
            return written(values)
        return functional.layer_norm(values, (values.shape[-1],), scale, getattr(module, "bias", None), norm.epsilon)

    def rms_norm(values: torch.Tensor) -> torch.Tensor:
        scale = module.onward_scale if norm.offset else module.weight
        if values.dtype != scale.dtype:
            return written(values)
        attributes: dict[str, Any] = {"axis": -1, "epsilon": norm.epsilon, "stash_type": 1}
        return torch.onnx.ops.symbolic(RMS, [values, scale], attributes, dtype=values.dtype, shape=values.shape)

    return layer_norm if norm.operator == LAYER else rms_norm


def recognise_activation(module: torch.nn.Module) -> Activation | None:
    """The activation that a module without parameters computes, compared on [-10, 10]."""
    sample = torch.linspace(-10, 10, 2001).reshape(3, 23, 29)
    with torch.no_grad():
        found = module.forward(sample)
    if not isinstance(found, torch.Tensor) or found.shape != sample.shape or found.dtype != sample.dtype:
        return None
    # Absolute: where gelu's two definitions differ most, they do so by 5e-4.
    matches = (known for known in ACTIVATIONS if bool((known.formula(sample) - found).abs().max() < EXACT))
    return next(matches, None)


def activation_forward(activation: Activation) -> Callable[..., torch.Tensor]:
    """A forward that emits the activation."""

    def forward(values: torch.Tensor) -> torch.Tensor:
        if values.dtype not in DTYPES:
            return activation.formula(values)
        return torch.onnx.ops.symbolic(
            activation.operator, [values], activation.attributes, dtype=values.dtype, shape=values.shape, version=1
        )

    return forward
