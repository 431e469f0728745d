"""Processors that depend on how long a row is: minimum length, forced tokens at either end, growing pull to the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from runtime.generation.logits import NEGATIVE_INFINITY, Scores
from runtime.generation.processors.base import Rows, within

LARGEST_EXPONENT = 69.0  # e^69 = 1e30
LengthRule = Callable[[int], int]  # prompt length -> total length


class MinLength:
    """HF's `MinLengthLogitsProcessor` and `MinNewTokensLengthLogitsProcessor`: no end before `minimum`."""

    def __init__(self, minimum: LengthRule, eos_token_ids: Sequence[int], vocab_size: int) -> None:
        self.minimum = minimum
        self.ids = within(eos_token_ids, vocab_size)

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row, (length, prompt) in enumerate(zip(rows.lengths(), rows.prompt_lengths, strict=True)):
            if length < self.minimum(prompt):
                scores[row, self.ids] = NEGATIVE_INFINITY
        return scores


class ForcedBOS:
    """HF's `ForcedBOSTokenLogitsProcessor`: only `token` may follow a history of one token."""

    def __init__(self, token: int) -> None:
        self.token = token

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row, length in enumerate(rows.lengths()):
            if length == 1:
                scores[row] = NEGATIVE_INFINITY
                scores[row, self.token] = 0
        return scores


class ForcedEOS:
    """HF's `ForcedEOSTokenLogitsProcessor`: only `tokens` may come last, at one token below `maximum`."""

    def __init__(self, maximum: LengthRule, tokens: Sequence[int]) -> None:
        self.maximum = maximum
        self.tokens = list(tokens)

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row, (length, prompt) in enumerate(zip(rows.lengths(), rows.prompt_lengths, strict=True)):
            if length == self.maximum(prompt) - 1:
                scores[row] = NEGATIVE_INFINITY
                scores[row, self.tokens] = 0
        return scores


class ExponentialDecayLengthPenalty:
    """HF's class of that name: raises the end's score by a factor that grows with every token after `start`."""

    def __init__(self, start: int, factor: float, eos_token_ids: Sequence[int], vocab_size: int) -> None:
        self.start = start
        self.factor = factor
        self.ids = within(eos_token_ids, vocab_size)

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row, (length, prompt) in enumerate(zip(rows.lengths(), rows.prompt_lengths, strict=True)):
            beyond = length - prompt - self.start
            if beyond > 0:
                # An end that is banned stays banned.
                ids = self.ids[np.isfinite(scores[row, self.ids])]
                with np.errstate(over="ignore"):
                    # The absolute value, so that a negative score rises too.
                    scores[row, ids] += np.abs(scores[row, ids]) * np.float32(self._power(beyond) - 1)
        return scores

    def _power(self, exponent: int) -> float:
        """The factor's power; where HF overflows it stays at a size that float32 scores can be multiplied with."""
        overflows = exponent * math.log(self.factor) > LARGEST_EXPONENT
        return math.exp(LARGEST_EXPONENT) if overflows else self.factor**exponent
