"""Biases on token sequences, and bad words, which are sequences with a bias of minus infinity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from runtime.errors import InputError
from runtime.generation.logits import Scores, Tokens
from runtime.generation.processors.base import Rows

Bias = tuple[Sequence[int], float]


class SequenceBias:
    """HF's `SequenceBiasLogitsProcessor`: adds a sequence's bias to its last token when the rest was just said.

    Biases that meet in one token add up. Of two equal sequences the later one counts, as in HF's dict.
    """

    def __init__(self, biases: Iterable[Bias], vocab_size: int) -> None:
        table = {tuple(sequence): bias for sequence, bias in biases}
        outside = sorted({i for sequence in table for i in sequence if i >= vocab_size})
        if outside:
            raise InputError(f"biased or bad-word token ids {outside} are not in the vocabulary of {vocab_size}")
        singles = [(sequence[0], bias) for sequence, bias in table.items() if len(sequence) == 1]
        self.single_ids = np.asarray([i for i, _ in singles], np.int64)
        self.single_biases = np.asarray([bias for _, bias in singles], np.float32)
        self.groups = [_group(table, length) for length in sorted({len(s) for s in table if len(s) > 1})]

    def __call__(self, rows: Rows, scores: Scores) -> Scores:
        for row in range(len(scores)):
            ids, biases = self._meeting(rows.history(row))
            if len(ids):
                touched, place = np.unique(ids, return_inverse=True)
                total = np.zeros(len(touched), np.float32)
                np.add.at(total, place, biases)
                scores[row, touched] += total
        return scores

    def _meeting(self, history: Tokens) -> tuple[Tokens, Scores]:
        """Ids that a bias applies to after `history`, and those biases."""
        ids, biases = [self.single_ids], [self.single_biases]
        for prefixes, last, bias in self.groups:
            length = prefixes.shape[1]
            if length <= len(history):
                hit = (prefixes == history[-length:]).all(axis=1)
                ids.append(last[hit])
                biases.append(bias[hit])
        return np.concatenate(ids), np.concatenate(biases)


def _group(table: dict[tuple[int, ...], float], length: int) -> tuple[Tokens, Tokens, Scores]:
    """Prefixes `[n, length - 1]`, last ids `[n]` and biases `[n]` of the sequences of one length."""
    chosen = {sequence: bias for sequence, bias in table.items() if len(sequence) == length}
    sequences = np.asarray(list(chosen), np.int64)
    return sequences[:, :-1], sequences[:, -1], np.asarray(list(chosen.values()), np.float32)


def bad_words(words: Iterable[Sequence[int]], eos_token_ids: Sequence[int]) -> list[Bias]:
    """HF's `NoBadWordsLogitsProcessor` as biases: all of `words` except a bare end-of-sequence token."""
    allowed = [[i] for i in eos_token_ids]
    return [(word, -np.inf) for word in words if list(word) not in allowed]
