"""Random weights for checkpoints that are built rather than trained."""

from collections.abc import Callable

import torch
from transformers import PreTrainedModel

NOISE = 0.1


def seeded_model(build: Callable[[], PreTrainedModel], seed: int) -> PreTrainedModel:
    """The model ``build`` returns, in evaluation mode, its weights decided by ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().eval()
        _perturb_vectors(model)
    return model


def _perturb_vectors(model: PreTrainedModel) -> None:
    """Move biases off 0 and norm weights off 1: an exporter that forgot one would otherwise go unnoticed."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += NOISE * torch.randn_like(parameter)
