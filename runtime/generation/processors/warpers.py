"""The truncations and the temperature that shape the distribution before a token is drawn from it.

The order of summation follows torch's on the CPU (probabilities in float32, running sums in float64 and back), so that
the same tokens survive. Rows are cut to their finite scores before anything is sorted: after a top-k that is k
values instead of the vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from runtime.generation.logits import NEGATIVE_INFINITY, Scores, entropy, greatest, log_softmax, softmax, top_indices
from runtime.generation.processors.base import Rows

HEADS = (1024, 8192)  # how many of the most probable tokens are sorted, in the hope that the others need not be
TOP_H_CANDIDATES = 100  # HF's constant

Mask = NDArray[np.bool_]


class Temperature:
    """HF's `TemperatureLogitsWarper`: divides the scores."""

    def __init__(self, temperature: float) -> None:
        self.temperature = np.float32(temperature)

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        with np.errstate(over="ignore"):  # the limits that remove_invalid_values sets may become infinite, as in HF
            scores /= self.temperature
        return scores


class TopK:
    """HF's `TopKLogitsWarper`: removes what is below the k-th greatest score; ties with it stay."""

    def __init__(self, top_k: int, min_tokens_to_keep: int = 1) -> None:
        self.top_k = max(top_k, min_tokens_to_keep)

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        if self.top_k < scores.shape[1]:
            for row in scores:
                kept = greatest(row, self.top_k)
                values = row[kept]
                row.fill(NEGATIVE_INFINITY)
                row[kept] = values
        return scores


class Truncation(ABC):
    """A warper that decides token by token which to remove, row by row."""

    @abstractmethod
    def removed(self, values: Scores) -> Mask:
        """Which of a row's scores, none of them -inf, to remove; `[n]` float32 to `[n]` bool."""

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row in scores:
            open_ids = np.flatnonzero(row != NEGATIVE_INFINITY)
            if len(open_ids) == len(row):
                np.copyto(row, NEGATIVE_INFINITY, where=self.removed(row))
            elif len(open_ids):
                row[open_ids[self.removed(row[open_ids])]] = NEGATIVE_INFINITY
        return scores


class TopP(Truncation):
    """HF's `TopPLogitsWarper`: removes the least probable tokens that together have at most 1 - top_p."""

    def __init__(self, top_p: float, min_tokens_to_keep: int = 1) -> None:
        self.limit = np.float32(1 - top_p)
        self.keep = min_tokens_to_keep

    def removed(self, values: Scores) -> Mask:
        probabilities = softmax(values)
        if np.isnan(probabilities[0]):
            return np.zeros(len(values), np.bool_)
        head, below = self._split(values, probabilities)
        order = np.argsort(values[head], kind="stable")
        total = below + np.cumsum(probabilities[head[order]], dtype=np.float64)
        removed = np.ones(len(values), np.bool_)
        first_kept = min(int((total.astype(np.float32) <= self.limit).sum()), max(len(order) - self.keep, 0))
        removed[head[order[first_kept:]]] = False
        return removed

    def _split(self, values: Scores, probabilities: Scores) -> tuple[NDArray[np.intp], float]:
        """Indices to sort, and the probability of the others, which are then all removed."""
        for count in [size for size in HEADS if len(values) > 2 * size]:
            head = greatest(values, count)
            below = float(probabilities.sum(dtype=np.float64) - probabilities[head].sum(dtype=np.float64))
            if np.float32(below) <= self.limit:
                return head, below
        return np.arange(len(values)), 0.0


class MinP(Truncation):
    """HF's `MinPLogitsWarper`: removes what is less probable than `min_p` times the most probable token."""

    def __init__(self, min_p: float, min_tokens_to_keep: int = 1) -> None:
        self.min_p = np.float32(min_p)
        self.keep = min_tokens_to_keep

    def removed(self, values: Scores) -> Mask:
        probabilities = softmax(values)
        removed = probabilities < self.min_p * probabilities.max()
        removed[top_indices(probabilities, self.keep)] = False
        return np.asarray(removed)


class TopH(Truncation):
    """HF's `TopHLogitsWarper`: keeps the most probable tokens up to `top_h` of the entropy of the first 100."""

    def __init__(self, top_h: float) -> None:
        self.top_h = np.float32(top_h)

    def removed(self, values: Scores) -> Mask:
        order = top_indices(values, TOP_H_CANDIDATES)
        probabilities = softmax(values[order])
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = -probabilities * np.log(probabilities)
        total = np.cumsum(terms, dtype=np.float64).astype(np.float32)
        keep = total <= entropy(values[order]) * self.top_h
        keep[0] = True
        removed = np.ones(len(values), np.bool_)
        removed[order[keep]] = False
        return removed


class Typical(Truncation):
    """HF's `TypicalLogitsWarper`: keeps the tokens whose surprise is nearest to the entropy, up to a mass."""

    def __init__(self, mass: float, min_tokens_to_keep: int = 1) -> None:
        self.mass = np.float32(mass)
        self.keep = min_tokens_to_keep

    def removed(self, values: Scores) -> Mask:
        logarithms = log_softmax(values)
        distance = np.abs(-logarithms + np.nansum(logarithms * np.exp(logarithms)))  # from the entropy
        order = np.argsort(distance, kind="stable")
        total = np.cumsum(softmax(values[order]), dtype=np.float64).astype(np.float32)
        last = min(int((total < self.mass).sum()), len(values) - 1)
        removed = np.asarray(distance > distance[order[last]])
        removed[order[: self.keep]] = False
        return removed


class Epsilon(Truncation):
    """HF's `EpsilonLogitsWarper`: removes what is less probable than a constant."""

    def __init__(self, epsilon: float, min_tokens_to_keep: int = 1) -> None:
        self.epsilon = np.float32(epsilon)
        self.keep = min_tokens_to_keep

    def removed(self, values: Scores) -> Mask:
        return np.asarray((softmax(values) < self.epsilon) & _below_top(values, self.keep))


class Eta(Truncation):
    """HF's `EtaLogitsWarper`: as `Epsilon`, the constant lowered where the entropy is high."""

    def __init__(self, epsilon: float, min_tokens_to_keep: int = 1) -> None:
        self.epsilon = np.float32(epsilon)
        self.keep = min_tokens_to_keep

    def removed(self, values: Scores) -> Mask:
        probabilities = softmax(values)
        eta = min(self.epsilon, np.sqrt(self.epsilon) * np.exp(-entropy(values)))
        return np.asarray((probabilities < eta) & _below_top(values, self.keep))


def _below_top(values: Scores, count: int) -> Mask:
    """Which values are below the `count`-th greatest."""
    if count >= len(values):
        return np.zeros(len(values), np.bool_)
    return np.asarray(values < np.partition(values, len(values) - count)[len(values) - count])
