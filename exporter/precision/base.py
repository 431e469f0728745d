"""What a precision is: the dtype a model is traced in, and the budgets that its export is held to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """Budgets of the validation.

    error: largest difference of any output from the fp32 source, as a share of the largest output.
    top1: smallest share of positions at which the most probable token or label is the source's.
    divergence: largest mean Kullback-Leibler divergence of the probabilities, in nats.
    exact: whether generated tokens and answers must be the source's, ties apart; otherwise they are reported, and
    `agreement` is the smallest share of generated tokens that must come before the first difference, on average.
    """

    name: str
    dtype: str
    bytes_per_weight: float
    error: float
    top1: float
    divergence: float
    exact: bool
    agreement: float = 1.0
