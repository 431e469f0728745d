"""Mixtures of experts: what is recognised, that the operator computes what the model does, its weights in few bits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir
import pytest
import torch
from transformers.integrations.moe import use_experts_implementation

from exporter.passes import expert_slices
from exporter.quantization.experts import quantize_experts
from exporter.quantization.plan import Report
from exporter.quantization.request import Settings
from exporter.quantization.rewrite import drop_unused
from exporter.tracing.adapter import TraceRequest, trace
from exporter.tracing.experts import recognise_experts
from tests.unit.exporter.graphs import build, ops, relative, run

EXPERTS, HIDDEN, WIDTH, CHOSEN = 4, 64, 96, 2
AUTO = torch.export.Dim.AUTO


class Experts(torch.nn.Module):
    """As transformers writes them: `[experts, columns, depth]`, gate and linear part one after the other."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.act_fn = config.activation
        self.num_experts = EXPERTS
        generator = torch.Generator().manual_seed(0)
        hidden = config.hidden
        shapes = {"gate_up_proj": (EXPERTS, 2 * WIDTH, hidden), "down_proj": (EXPERTS, hidden, WIDTH)}
        for name, shape in shapes.items():
            shape = (shape[0], shape[2], shape[1]) if config.transposed else shape
            setattr(self, name, torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.1))
            columns = shapes[name][1]
            setattr(self, f"{name}_bias", torch.nn.Parameter(torch.randn(EXPERTS, columns, generator=generator)))


class Clamped:
    """The gate of gpt-oss: columns in turn, clamped, with a slope and an offset."""

    alpha, limit = 1.702, 7.0

    def _apply_gate(self, values: torch.Tensor) -> torch.Tensor:
        gate, up = values[..., ::2].clamp(max=self.limit), values[..., 1::2].clamp(-self.limit, self.limit)
        return (up + 1) * gate * torch.sigmoid(gate * self.alpha)


def experts(activation: Any = None, clamped: bool = False, hidden: int = HIDDEN) -> Any:
    """A module behind transformers' interface."""
    settings = SimpleNamespace(
        activation=activation or torch.nn.SiLU(),
        transposed=clamped,
        hidden=hidden,
        _experts_implementation="grouped_mm",
    )
    if not clamped:
        return use_experts_implementation(type("Plain", (Experts,), {}))(settings)
    odd = type("Odd", (Clamped, Experts), {})
    module = use_experts_implementation(odd, is_transposed=True, is_concatenated=False, has_bias=True)(settings)
    vars(module).update(alpha=Clamped.alpha, limit=Clamped.limit)
    return module


def sample(tokens: int, hidden: int = HIDDEN) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, the experts they choose, and shares that do not sum to one."""
    generator = torch.Generator().manual_seed(tokens)
    chosen = torch.stack([torch.randperm(EXPERTS, generator=generator)[:CHOSEN] for _ in range(tokens)])
    return torch.randn(tokens, hidden, generator=generator), chosen, torch.rand(tokens, CHOSEN, generator=generator)


class Step(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: torch.Tensor, chosen: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        return self.inner(hidden, chosen, shares)  # type: ignore[no-any-return]


def traced(module: Any) -> onnx_ir.Model:
    hidden, chosen, shares = sample(5, module.config.hidden)
    names = ["hidden", "chosen", "shares"]
    return trace(
        TraceRequest(
            module=Step(module).eval(),
            kwargs=dict(zip(names, (hidden, chosen, shares), strict=True)),
            dims={name: {0: AUTO} for name in names},
            input_names=names,
            input_dims=[["tokens", None]] * 3,
            output_names=["out"],
            output_dims=[["tokens", None]],
            opset=18,
        )
    )


def answers(model: onnx_ir.Model, module: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """The module's and the graph's, for other tokens than were traced."""
    hidden, chosen, shares = sample(9)
    with torch.no_grad():
        expected = module(hidden, chosen, shares).numpy()
    return expected, run(model, hidden=hidden.numpy(), chosen=chosen.numpy(), shares=shares.numpy())[0]


@pytest.mark.parametrize("clamped", [False, True])
def test_the_operator_computes_what_the_module_does(clamped: bool) -> None:
    module = experts(clamped=clamped)
    model = traced(module)
    assert ops(model).count("MoE") == 1
    assert not {"MatMul", "Split"} & set(ops(model))
    expected, found = answers(model, module)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert "forward" not in vars(module)


def test_other_gates_norms_and_dtypes_are_traced_as_they_are_written() -> None:
    assert recognise_experts(experts()) is not None
    assert recognise_experts(experts(torch.nn.GELU())) is None
    assert recognise_experts(experts().half()) is None
    normed = experts()
    normed.has_post_expert_norm = True
    assert recognise_experts(normed) is None
    assert recognise_experts(torch.nn.Linear(4, 4)) is None


def test_experts_that_are_not_emitted_have_weights_of_their_own() -> None:
    module = experts(torch.nn.GELU())
    model = traced(module)
    assert expert_slices.call(model)
    products = [node for node in model.graph if node.op_type == "MatMul"]
    assert len(products) == 2 * EXPERTS
    assert all(node.inputs[1].is_initializer() for node in products)  # type: ignore[union-attr]
    assert not [value for value in model.graph.initializers.values() if len(value.shape or ()) == 3]
    expected, found = answers(model, module)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_slices_that_are_used_in_other_ways_stay() -> None:
    text = "(float[2, 4] x) => (float[2, 4, 4] y) { a, b = Split <axis = 0> (w)  y = Concat <axis = 0> (b, a) }"
    assert not expert_slices.call(build(text, w=np.ones((2, 4, 4), np.float32)))


@pytest.mark.parametrize("clamped", [False, True])
@pytest.mark.parametrize(
    ("bits", "settings", "limit"),
    [
        (8, Settings(), 0.02),
        (4, Settings(), 0.2),
        (4, Settings(block_size=16), 0.15),
        (4, Settings(symmetric=True), 0.2),
        (4, Settings(method="hqq"), 0.2),
    ],
)
def test_experts_in_few_bits(clamped: bool, bits: int, settings: Settings, limit: float) -> None:
    module = experts(clamped=clamped)
    model, report = traced(module), Report("")
    quantize_experts(model.graph, bits, settings, report)
    drop_unused(model)
    assert "QMoE" in ops(model)
    assert "MoE" not in ops(model)
    assert report.weights == {f"{bits} bit": EXPERTS * 3 * WIDTH * HIDDEN}
    floats = sum(
        value.const_value.size for value in model.graph.initializers.values() if value.dtype.is_floating_point()
    )
    assert floats < EXPERTS * 3 * WIDTH * HIDDEN / 10  # scales and biases
    expected, found = answers(model, module)
    assert relative(expected, found) < limit


def test_experts_that_lose_too_much_are_given_more_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, report = traced(experts()), Report("")
    monkeypatch.setattr("exporter.quantization.experts.LIMIT", 1e-3)
    quantize_experts(model.graph, 4, Settings(), report)
    assert [reason[:5] for reason in report.kept.values()] == ["8 bit"]
    assert set(report.weights) == {"8 bit"}


def test_sizes_that_no_blocks_divide_stay_float() -> None:
    odd = traced(experts(hidden=24))
    report = Report("")
    quantize_experts(odd.graph, 4, Settings(), report)
    assert not report.weights
    assert "stays float" in report.notes[0]
