"""The next token of every row of a step: rows whose parameters are the same are processed together."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Items

import numpy as np

from runtime.generation.logits import Scores
from runtime.generation.processors import Rows
from runtime.generation.sequence import Sequence, ending

# A pass over more scores than this leaves the processor's cache, and memory for its results comes from the system anew:
# measured with 50,257 scores, 8 rows at once take several times as long as one after the other.
CACHED_SCORES = 1 << 16


def advance(sequences: Items[Sequence], logits: Scores) -> None:
    """Give each sequence its next token, chosen from its row of `logits` `[rows, vocab]`.

    A choice that fails ends its own sequence with the error.
    """
    for members in groups(sequences):
        chosen = [sequences[row] for row in members]
        scores = logits if len(members) == len(sequences) else logits[members]
        if chosen[0].sampler.is_plain_greedy:
            for sequence, token in zip(chosen, scores.argmax(axis=-1).tolist(), strict=True):
                with ending([sequence]):
                    sequence.push(token)
        else:
            _advance_alike(chosen, scores)


def groups(sequences: Items[Sequence]) -> Iterable[list[int]]:
    """Places of the sequences that have the same settings, whatever their seeds."""
    if len(sequences) == 1:
        return [[0]]
    found: dict[bytes | None, list[int]] = {}
    for row, sequence in enumerate(sequences):
        key = None if sequence.sampler.is_plain_greedy else sequence.sampler.settings
        found.setdefault(key, []).append(row)
    return found.values()


def _advance_alike(sequences: list[Sequence], logits: Scores) -> None:
    """Rows with the same settings, as many at a time as the processor's cache holds the scores of."""
    count = max(1, CACHED_SCORES // logits.shape[1])
    for begin in range(0, len(sequences), count):
        _advance_block(sequences[begin : begin + count], logits[begin : begin + count])


def _advance_block(sequences: list[Sequence], logits: Scores) -> None:
    scores = logits
    with ending(sequences):
        scores = sequences[0].sampler.process(rows_of(sequences), logits)
    for row, sequence in enumerate(sequences):
        if sequence.finish_reason is None:
            with ending([sequence]):
                sequence.push(*sequence.sampler.pick(scores[row]))


def rows_of(sequences: list[Sequence]) -> Rows:
    """What processors read of the sequences. Images have no ids: the decoder's prompt takes their place."""
    read = [sequence.source_ids for sequence in sequences]
    sources = None if any(ids is None for ids in read) else read
    return Rows([s.history for s in sequences], [s.prompt_length for s in sequences], sources)


def stack(logits: Items[np.ndarray]) -> np.ndarray:
    """Rows `[vocab]` as `[rows, vocab]`; one row is not copied."""
    return logits[0][None] if len(logits) == 1 else np.stack(logits)
