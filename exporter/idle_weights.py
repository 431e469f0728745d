"""Weights that a checkpoint may lack: those on which none of the task's outputs depends, such as BERT's pooler for
hidden states. transformers fills them with random numbers, and nobody will see them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from exporter.tasks import TaskRow

TOKENS = 7  # any length does


def idle_weights(model: Any, missing: Collection[str], row: TaskRow) -> list[str]:
    """Of the `missing` parameters those that no output of an encoder's task has a gradient for."""
    import torch

    parameters = {name: parameter for name, parameter in model.named_parameters() if name in set(missing)}
    if not parameters or row.kind != "encoder" or row.modality != "text":
        return []
    model.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    with torch.enable_grad():
        output = model.eval()(input_ids=torch.ones(1, TOKENS, dtype=torch.long, device=model.device))
        total = sum(output[name].float().sum() for name, _ in row.outputs)
    if not isinstance(total, torch.Tensor) or not total.requires_grad:
        return list(parameters)
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    return [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]
