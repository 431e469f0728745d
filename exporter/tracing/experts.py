"""Mixtures of experts that emit ONNX Runtime's `MoE` while a model is traced: only the experts a token chose are run.

transformers routes the experts of nearly all models through one interface (`transformers.integrations.moe`): a module
with 3-D weights, called with the tokens, the experts that each chose and their shares. What its gate computes, how its
weights lie and that the operator gives what the module gives is found out on sample values, never by name. Modules that
compute something else (other gates, norms behind the experts) are traced as they are written, and so are those in other
dtypes than float32, for which the CPU provider has no kernel. Operator: onnxruntime ContribOperators.md.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from exporter.tracing.modules import close

MARKS = ("has_gate", "has_bias", "has_post_expert_norm", "is_transposed", "_apply_gate")
OPERATOR = "onward::Experts"  # `lay_out_experts` makes it MoE, whose weights lie differently
ALPHAS, BETAS = (1.0, 1.702), (0.0, 1.0)
TOLERANCE = 1e-4
# The operator takes the softmax of the scores of those it picks: experts that were not chosen are far below.
NEVER, TINY = -1e4, 1e-30


@dataclass(frozen=True)
class SwiGlu:
    """`g * sigmoid(alpha * g) * (l + beta)`, g at most `limit`, l between `-limit` and `limit`.

    interleaved: whether g and l are every second column; otherwise they are the two halves.
    """

    alpha: float
    beta: float
    limit: float
    interleaved: bool

    def formula(self, values: torch.Tensor) -> torch.Tensor:
        """`[..., 2 * width]` to `[..., width]`."""
        gate, linear = (values[..., 0::2], values[..., 1::2]) if self.interleaved else values.chunk(2, dim=-1)
        gate, linear = gate.clamp(max=self.limit), linear.clamp(-self.limit, self.limit)
        return gate * torch.sigmoid(self.alpha * gate) * (linear + self.beta)


@contextlib.contextmanager
def emitted_experts(model: torch.nn.Module) -> Iterator[None]:
    """Trace inside: every module of experts that is proven to be the operator emits it."""
    replaced: list[torch.nn.Module] = []
    try:
        for module in model.modules():
            gate = recognise_experts(module)
            if gate is not None:
                module.forward = experts_forward(module, gate)
                replaced.append(module)
        yield
    finally:
        for module in replaced:
            del module.forward


def recognise_experts(module: Any) -> SwiGlu | None:
    """The gate of a module of experts that `MoE` computes; None for everything else."""
    if not all(hasattr(module, mark) for mark in MARKS) or "forward" in vars(module):
        return None
    if not module.has_gate or module.has_post_expert_norm:
        return None
    weights = [getattr(module, name, None) for name in ("gate_up_proj", "down_proj")]
    if not all(isinstance(weight, torch.Tensor) and _fits(weight) for weight in weights):
        return None
    try:
        with torch.no_grad():
            gate = recognise_gate(module)
            return gate if gate is not None and _proven(module, gate) else None
    except Exception:  # any module may refuse our sample: then it is something else
        return None


def _fits(weight: torch.Tensor) -> bool:
    return bool(weight.dim() == 3 and weight.dtype == torch.float32 and weight.device.type == "cpu")


def recognise_gate(module: Any) -> SwiGlu | None:
    """The gate, among those with the numbers that the module holds itself and with common ones."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(16, 2 * _width(module), generator=generator) * 6
    found = module._apply_gate(sample)
    own = [float(v) for v in vars(module).values() if isinstance(v, float)]
    for limit, alpha, beta, interleaved in itertools.product(
        (math.inf, *own), dict.fromkeys((*ALPHAS, *own)), BETAS, (False, True)
    ):
        gate = SwiGlu(alpha, beta, limit, interleaved)
        if limit > 0 and torch.allclose(found, gate.formula(sample), rtol=1e-5, atol=1e-5):
            return gate
    return None


def _proven(module: Any, gate: SwiGlu) -> bool:
    """Whether the module gives what the operator will, for tokens that choose at random and shares of any sum."""
    experts, hidden = module.down_proj.shape[0], module.down_proj.shape[2 if module.is_transposed else 1]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(3, hidden, generator=generator)
    chosen = torch.stack([torch.randperm(experts, generator=generator)[:2] for _ in tokens])
    shares = torch.rand(chosen.shape, generator=generator) + 0.1
    found = module.forward(tokens, chosen, shares)
    expected = reference(module, gate, tokens, chosen, shares)
    return close(found, expected, TOLERANCE)


def reference(
    module: Any, gate: SwiGlu, tokens: torch.Tensor, chosen: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    """What the operator computes, in plain torch. tokens `[tokens, hidden]`, chosen and shares `[tokens, chosen]`."""
    rows = []
    for token, experts, weights in zip(tokens, chosen.tolist(), shares, strict=True):
        parts = [_expert(module, gate, token, index) for index in experts]
        rows.append(sum(weight * part for weight, part in zip(weights, parts, strict=True)))
    return torch.stack(rows)  # type: ignore[arg-type]


def _expert(module: Any, gate: SwiGlu, token: torch.Tensor, index: int) -> torch.Tensor:
    up, down = module.gate_up_proj[index], module.down_proj[index]
    if not module.is_transposed:
        up, down = up.T, down.T
    inner = token @ up
    if module.has_bias:
        inner = inner + module.gate_up_proj_bias[index]
    outer = gate.formula(inner) @ down
    return outer + module.down_proj_bias[index] if module.has_bias else outer


def _width(module: Any) -> int:
    return int(module.down_proj.shape[1 if module.is_transposed else 2])


def experts_forward(module: Any, gate: SwiGlu) -> Callable[..., torch.Tensor]:
    """A forward that emits the operator. Shares of any sum fit: it mixes by shares of one, the sum scales after it."""
    attributes: dict[str, Any] = {
        "transposed": int(module.is_transposed),
        "interleaved": int(gate.interleaved),
        "alpha": gate.alpha,
        "beta": gate.beta,
    } | ({} if math.isinf(gate.limit) else {"limit": gate.limit})
    experts = module.down_proj.shape[0]

    def forward(hidden: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        shares = top_k_weights.to(hidden.dtype)
        total = shares.sum(-1, keepdim=True)
        scores = (shares / total.clamp(min=TINY)).clamp(min=TINY).log()
        router = hidden.new_full((hidden.shape[0], experts), NEVER).scatter(1, top_k_index, scores)
        biases = [module.gate_up_proj_bias, module.down_proj_bias] if module.has_bias else [None, None]
        mixed = torch.onnx.ops.symbolic(
            OPERATOR,
            [hidden, router, module.gate_up_proj, biases[0], module.down_proj, *biases[1:]],
            {**attributes, "k": top_k_index.shape[-1]},
            dtype=hidden.dtype,
            shape=hidden.shape,
            version=1,
        )
        return mixed * total

    return forward
