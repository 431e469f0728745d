"""Arithmetic on rows of scores: softmax, log-softmax and stable top-k, along the last axis, in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Tokens = NDArray[np.int64]

NEGATIVE_INFINITY = np.float32(-np.inf)
BLOCK = 32  # scores whose maximum is taken together
# Scores that differ by less than this share of themselves may become equal when a temperature divides them.
ROUNDING = np.float32(2.0**-21)


def softmax(scores: Scores) -> Scores:
    """Probabilities along the last axis. A row of only -inf, or with NaN or +inf, becomes NaN, as in torch."""
    with np.errstate(invalid="ignore"):
        exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True), np.float32)


def log_softmax(scores: Scores) -> Scores:
    """Logarithms of the probabilities along the last axis; -inf stays -inf."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shifted = scores - scores.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)


def entropy(values: Scores) -> np.float32:
    """Entropy in nats of the softmax of finite `values` `[n]`, rounded as in torch's `Categorical(logits=values)`.

    That subtracts the log-sum-exp at the magnitude of the scores, which shows where one token has nearly all.
    """
    greatest = values.max()
    with np.errstate(invalid="ignore"):
        normalized = values - (greatest + np.log(np.exp(values - greatest).sum()))
        return np.float32(-(normalized * softmax(normalized)).sum())


def greatest(values: Scores, count: int, slack: float | np.float32 = 0.0) -> Tokens:
    """Indices of the `count` greatest of `values` `[n]` and of all that equal the least of them, in ascending order.

    slack: what is below the least of them by no more than this share of it counts as equal.
    The count-th greatest of the maxima of blocks bounds it from below: one fast pass over the vocabulary, and all
    sorting happens among the few values above that bound.
    """
    if count >= values.size:
        return np.arange(values.size)
    blocks = values.size // BLOCK
    if blocks <= count:
        return np.flatnonzero(values >= below(_kth(values, count), slack))
    maxima = values[: blocks * BLOCK].reshape(BLOCK, blocks).max(axis=0)  # across, which vectorises
    candidates = np.flatnonzero(values >= below(_kth(maxima, count), slack))
    chosen = values[candidates]
    return np.asarray(candidates[chosen >= below(_kth(chosen, count), slack)], np.int64)


def below(value: np.float32, slack: float | np.float32) -> np.float32:
    """`value` less this share of it."""
    return np.float32(value - abs(value) * slack) if slack else value


def _kth(values: Scores, count: int) -> np.float32:
    """The count-th greatest value."""
    place = values.size - count
    return np.float32(np.partition(values, place)[place])


def top_indices(values: Scores, count: int) -> Tokens:
    """Indices of the `count` greatest of `values` `[n]`, greatest first, the lower index first among equals."""
    candidates = greatest(values, count)
    order = np.argsort(-values[candidates], kind="stable")[:count]
    return np.asarray(candidates[order], np.int64)
