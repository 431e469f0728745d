"""From start and end logits to the most probable spans of a window of text.

Source: transformers 4.57 `pipelines/question_answering.py` (`select_starts_ends`, `decode_spans`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MASKED = np.float32(-10000.0)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spans:
    """Spans of tokens, best first: first and last token, and the product of their probabilities. null: that of no
    answer (both at the first token)."""

    starts: list[int]
    ends: list[int]
    scores: list[float]
    null: float


def best_spans(
    start_logits: Floats, end_logits: Floats, allowed: npt.NDArray[np.bool_], count: int, longest: int
) -> Spans:
    """The `count` best spans of at most `longest` tokens. All arrays are `[tokens]`; allowed: tokens of the context.

    As in HF the first token may always begin or end a span, with probability 0.
    """
    start, end = (probabilities(logits, allowed) for logits in (start_logits, end_logits))
    null = float(start[0] * end[0])
    start[0] = end[0] = 0.0
    # A span ends where it begins or after, and not too far behind.
    scores = np.tril(np.triu(np.outer(start, end)), longest - 1)
    rows, columns = np.unravel_index(largest(scores.ravel(), count), scores.shape)
    possible = allowed.copy()
    possible[0] = True
    kept = possible[rows] & possible[columns]
    rows, columns = rows[kept], columns[kept]
    return Spans(rows.tolist(), columns.tolist(), scores[rows, columns].tolist(), null)


def probabilities(logits: Floats, allowed: npt.NDArray[np.bool_]) -> Floats:
    """Softmax over the allowed tokens."""
    masked = np.where(allowed, logits, MASKED)
    exponents = np.exp(masked - masked.max())
    return np.asarray(exponents / exponents.sum())


def largest(scores: Floats, count: int) -> npt.NDArray[np.int64]:
    """Indices of the `count` largest of `scores`, largest first."""
    if count == 1:
        return np.array([scores.argmax()])
    if len(scores) <= count:
        return np.argsort(-scores)
    chosen = np.argpartition(-scores, count)[:count]
    return chosen[np.argsort(-scores[chosen])]
