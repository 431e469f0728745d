"""Penalties and bans on what was already said. Cost per step: the length of the history, never length x vocabulary."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from runtime.generation.logits import NEGATIVE_INFINITY, Scores, Tokens
from runtime.generation.processors.base import Rows


def _penalise(scores: Scores, row: int, ids: Tokens, penalty: np.float32) -> None:
    """Divide positive and multiply negative scores of `ids` by `penalty`, once per token however often it occurs."""
    ids = ids[ids < scores.shape[1]]
    chosen = scores[row, ids]
    scores[row, ids] = np.where(chosen < 0, chosen * penalty, chosen / penalty)


class RepetitionPenalty:
    """HF's `RepetitionPenaltyLogitsProcessor`: penalises every token of the history, prompt included."""

    def __init__(self, penalty: float) -> None:
        self.penalty = np.float32(penalty)

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row in range(len(scores)):
            _penalise(scores, row, rows.history(row), self.penalty)
        return scores


class EncoderRepetitionPenalty:
    """HF's `EncoderRepetitionPenaltyLogitsProcessor`: the inverse penalty, on the tokens of the source."""

    def __init__(self, penalty: float) -> None:
        self.penalty = np.float32(1 / penalty)

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row in range(len(scores)):
            _penalise(scores, row, rows.source(row), self.penalty)
        return scores


def _followers(ids: Tokens, prefix: Tokens) -> Tokens:
    """The tokens that come directly after an occurrence of `prefix` in `ids`."""
    size = len(prefix) + 1
    if len(ids) < size:
        return ids[:0]
    windows = sliding_window_view(ids, size)
    return np.asarray(windows[(windows[:, :-1] == prefix).all(axis=1), -1])


class NoRepeatNGram:
    """HF's `NoRepeatNGramLogitsProcessor`: bans tokens that would complete an n-gram the history already holds."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row in range(len(scores)):
            history = rows.history(row)
            if len(history) >= self.size:
                banned = _followers(history, history[len(history) + 1 - self.size :])
                scores[row, banned[banned < scores.shape[1]]] = NEGATIVE_INFINITY
        return scores


class EncoderNoRepeatNGram:
    """HF's `EncoderNoRepeatNGramLogitsProcessor`: bans tokens that would complete an n-gram of the source."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row in range(len(scores)):
            history = rows.history(row)
            if len(history) + 1 >= self.size:
                banned = _followers(rows.source(row), history[len(history) + 1 - self.size :])
                scores[row, banned[banned < scores.shape[1]]] = NEGATIVE_INFINITY
        return scores
