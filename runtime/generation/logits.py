"""Arithmetic on rows of scores: softmax, log-softmax and stable top-k, along the last axis, in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Tokens = NDArray[np.int64]

NEGATIVE_INFINITY = np.float32(-np.inf)


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


def top_indices(values: Scores, count: int) -> Tokens:
    """Indices of the `count` greatest of `values` `[n]`, greatest first, the lower index first among equals."""
    candidates = np.arange(values.size)
    if values.size > 4 * count:
        threshold = np.partition(values, values.size - count)[values.size - count]
        candidates = np.flatnonzero(values >= threshold)
    order = np.argsort(-values[candidates], kind="stable")[:count]
    return np.asarray(candidates[order], np.int64)
