"""What a logits processor is: a function from the rows of one step and their scores to the processed scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.generation.logits import Scores, Tokens


@dataclass(frozen=True)
class Rows:
    """The sequences that the rows of scores continue; rows may differ in length.

    histories: token ids of each row so far, prompt first, without padding (integer arrays or lists).
    prompt_lengths: how many leading ids of each history are the prompt (the decoder's, for encoder-decoders).
    sources: the encoder's input ids of each row; None for decoder-only models, where the prompt takes their place,
        as in HF's `generate`.
    """

    histories: Sequence[Any]
    prompt_lengths: Sequence[int]
    sources: Sequence[Any] | None = None

    def history(self, row: int) -> Tokens:
        """Ids of `row` so far, as an int64 array."""
        return np.asarray(self.histories[row], np.int64)

    def source(self, row: int) -> Tokens:
        """Ids that the encoder saw for `row`, or its prompt."""
        if self.sources is None:
            return self.history(row)[: self.prompt_lengths[row]]
        return np.asarray(self.sources[row], np.int64)

    def lengths(self) -> list[int]:
        """Tokens of each row so far."""
        return [len(history) for history in self.histories]


# Takes ownership of the scores [rows, vocab] float32: it may write into them, and returns them or new ones.
Processor = Callable[[Rows, Scores], Scores]


def apply_processors(processors: Sequence[Processor], rows: Rows, scores: Scores) -> Scores:
    """`scores` `[rows, vocab]` after every processor, in order. The argument itself is left as it was."""
    if not processors:
        return scores
    scores = np.array(scores, np.float32)
    for processor in processors:
        scores = processor(rows, scores)
    return scores


def within(ids: Iterable[int], vocab_size: int) -> Tokens:
    """The ids that are columns of the scores, sorted, each once. HF drops the others silently."""
    return np.asarray(sorted({i for i in ids if 0 <= i < vocab_size}), np.int64)
