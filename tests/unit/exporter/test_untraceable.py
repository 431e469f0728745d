"""Branches of models: those on overflow of float16 are taken while tracing, the others are an error in one line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir
import pytest
import torch

from exporter.tracing.adapter import TraceRequest, trace
from runtime.errors import ExportError
from tests.unit.exporter.graphs import ops, run

LARGEST = torch.finfo(torch.float16).max


class Clamped(torch.nn.Module):
    """As the encoder layers of BART's family and LongT5's end. overflowed: how they ask."""

    def __init__(self, overflowed: Callable[[torch.Tensor], bool]) -> None:
        super().__init__()
        self.overflowed = overflowed

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states = hidden_states * 2
        if hidden_states.dtype == torch.float16 and self.overflowed(hidden_states):
            clamp = torch.finfo(hidden_states.dtype).max - 1000
            hidden_states = torch.clamp(hidden_states, min=-clamp, max=clamp)
        return hidden_states


BART, LONGT5 = Clamped(lambda x: not torch.isfinite(x).all()), Clamped(lambda x: bool(torch.isinf(x).any()))


class Selected(torch.nn.Module):
    """As T5's do: no branch, and tests that stay in the graph."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states = hidden_states * 2
        clamp = torch.where(torch.isinf(hidden_states).any(), LARGEST - 1000, LARGEST)
        return torch.clamp(hidden_states, min=-clamp, max=clamp)


class Branching(torch.nn.Module):
    """No graph can say this."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if hidden_states.sum() > 0:
            return hidden_states + 1
        return hidden_states


def traced(module: torch.nn.Module, dtype: torch.dtype) -> onnx_ir.Model:
    sample = {"hidden_states": torch.ones(2, 3, dtype=dtype)}
    dims = {"hidden_states": {0: torch.export.Dim("batch")}}
    names = [["batch", None]]
    return trace(TraceRequest(module, sample, dims, ["hidden_states"], names, ["out"], names, 18))


@pytest.mark.parametrize("module", [BART, LONGT5], ids=["BART", "LongT5"])
def test_overflow_is_clamped_as_in_torch(module: torch.nn.Module) -> None:
    model = traced(module, torch.float16)
    for x in (torch.tensor([[40000.0, 1.0, -40000.0]]), torch.tensor([[3.0, -2.0, 0.5]])):
        half = x.to(torch.float16)
        np.testing.assert_array_equal(run(model, hidden_states=half.numpy())[0], module(half).numpy())


def test_tests_without_a_branch_stay_in_the_graph() -> None:
    assert "IsInf" in ops(traced(Selected(), torch.float16))


def test_nothing_is_clamped_in_float32() -> None:
    model = traced(BART, torch.float32)
    assert ops(model) == ["Mul"]


def test_other_branches_are_an_error_of_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExportError) as raised:
        traced(Branching(), torch.float32)
    said = str(raised.value)
    assert said.startswith("torch cannot trace Branching at test_untraceable.py:")
    assert '("if hidden_states.sum() > 0:"): Could not guard on data-dependent expression' in said
    assert "\n" not in said
    assert capfd.readouterr().err == ""
