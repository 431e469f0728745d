"""Prompt lookup: guesses the next tokens where the text repeats itself, for the model to verify in one run.

HF's `PromptLookupCandidateGenerator` (transformers 5.23, `generation/candidate_generator.py`): what followed the first
earlier occurrence of the last n tokens, the longest n first. Guesses change the speed alone, never the tokens.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from runtime.generation.logits import Tokens

DEFAULT_NGRAM = 2  # HF's
LONGEST_PAUSE = 16  # steps


class PromptLookup:
    """Proposes continuations. count: `prompt_lookup_num_tokens`; ngram: `max_matching_ngram_size`.

    Every rejected token makes its run dearer, so proposals follow what was accepted. width: how many tokens the next
    one may have, twice as many as were accepted and one more, `count` at most. patience: steps without a proposal after
    the next rejection, twice as many each time.
    """

    def __init__(self, count: int, ngram: int | None, eos_token_ids: Collection[int]) -> None:
        self.count = count
        self.ngram = DEFAULT_NGRAM if ngram is None else ngram
        self.width = count
        self.patience = 1
        self._pause = 0
        self.ends = np.asarray(sorted(eos_token_ids), np.int64)

    def propose(self, history: Tokens, limit: int) -> Tokens:
        """Tokens that may follow `history` `[n]`, at most `limit` and up to an end token; often none."""
        if self._pause:
            self._pause -= 1
            return history[:0]
        for size in range(min(self.ngram, len(history) - 1), 0, -1):
            start = first_match(history, size)
            if start is not None:
                found = history[start + size : start + size + max(0, min(self.width, limit))]
                ends = np.flatnonzero(np.isin(found, self.ends))
                return found[: ends[0]] if len(ends) else found
        return history[:0]

    def learn(self, accepted: int) -> None:
        """Take into account how many of the proposed tokens the model agreed with."""
        self.width = min(self.count, 2 * accepted + 1)
        self._pause = 0 if accepted else self.patience
        self.patience = 1 if accepted else min(2 * self.patience, LONGEST_PAUSE)


def first_match(history: Tokens, size: int) -> int | None:
    """Where the last `size` ids of `history` occur for the first time, None if nowhere before."""
    last = len(history) - size  # the occurrence at the very end does not count
    fits = history[:last] == history[last]
    for place in range(1, size):
        fits = fits & (history[place : place + last] == history[last + place])
    found = int(fits.argmax())
    return found if fits[found] else None
