"""Processors on fixed sets of tokens, and repairs of whole rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.generation.logits import NEGATIVE_INFINITY, Scores, log_softmax
from runtime.generation.processors.base import Rows, within


class SuppressTokens:
    """HF's `SuppressTokensLogitsProcessor`: these tokens never."""

    def __init__(self, tokens: Sequence[int], vocab_size: int) -> None:
        self.ids = within(tokens, vocab_size)

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        scores[:, self.ids] = NEGATIVE_INFINITY
        return scores


class SuppressTokensAtBegin:
    """HF's `SuppressTokensAtBeginLogitsProcessor`: these tokens not as the first one that the model may choose.

    That is the first after the prompt, or the second where `forced_bos_token_id` takes the first.
    """

    def __init__(self, tokens: Sequence[int], vocab_size: int, bos_is_forced: bool) -> None:
        self.ids = within(tokens, vocab_size)
        self.bos_is_forced = bos_is_forced

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row, (length, prompt) in enumerate(zip(rows.lengths(), rows.prompt_lengths, strict=True)):
            if length == (prompt + 1 if self.bos_is_forced and prompt <= 1 else prompt):
                scores[row, self.ids] = NEGATIVE_INFINITY
        return scores


def remove_invalid_values(rows: Rows, scores: Scores) -> Scores:
    """HF's `InfNanRemoveLogitsProcessor`: NaN becomes 0, infinities the largest and smallest float32."""
    largest = float(np.finfo(np.float32).max)
    return np.asarray(np.nan_to_num(scores, copy=False, nan=0.0, posinf=largest, neginf=-largest), np.float32)


def renormalize(rows: Rows, scores: Scores) -> Scores:
    """HF's `LogitNormalization`: log-probabilities."""
    return log_softmax(scores)
