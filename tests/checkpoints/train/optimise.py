"""The optimisers, the learning-rate schedule and the loop of the training scripts."""

import math
from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import LambdaLR

WARMUP = 0.05
FLOOR = 0.01


class Cosine:
    """Optimisers whose rates warm up over a twentieth of ``steps``, then follow a cosine down to a hundredth."""

    def __init__(self, optimizers: list[torch.optim.Optimizer], steps: int) -> None:
        self.optimizers = optimizers
        self.steps = steps
        self.schedules = [LambdaLR(optimizer, lambda step: _factor(step, steps)) for optimizer in optimizers]

    def step(self, loss: torch.Tensor, model: torch.nn.Module) -> None:
        """One update of ``model`` down the gradient of ``loss``, clipped to norm 1."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


def train(
    model: torch.nn.Module,
    optimizer: Cosine,
    loss: Callable[[], torch.Tensor],
    every: int = 200,
    note: Callable[[], str] = str,
) -> None:
    """All steps of ``optimizer``. loss: of a fresh batch. Every so many steps the loss is printed, and ``note``."""
    for step in range(1, optimizer.steps + 1):
        model.train()
        current = loss()
        optimizer.step(current, model)
        if step % every == 0:
            print(f"step {step}: train {current.item():.3f}{note()}", flush=True)


def adamw(model: torch.nn.Module, peak: float, steps: int) -> Cosine:
    """AdamW for all parameters."""
    return Cosine([_adamw(list(model.parameters()), peak)], steps)


def muon(model: torch.nn.Module, peak: float, adamw_peak: float, steps: int) -> Cosine:
    """Muon for the matrices between the embeddings, AdamW for the rest: half the steps of AdamW alone."""
    hidden = [p for name, p in model.named_parameters() if p.dim() == 2 and ".h." in name]
    chosen = {id(parameter) for parameter in hidden}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    return Cosine([torch.optim.Muon(hidden, lr=peak, weight_decay=0.05), _adamw(others, adamw_peak)], steps)


def _adamw(parameters: list[torch.nn.Parameter], peak: float) -> torch.optim.AdamW:
    """Matrices decay; biases and norm weights do not, as decay would pull norm weights away from 1."""
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))


def _factor(step: int, steps: int) -> float:
    """Share of the peak rate at ``step`` of ``steps``."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
