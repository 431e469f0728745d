"""Prompt lookup: guesses the next tokens where the text repeats itself, for the model to verify in one run.

HF's `PromptLookupCandidateGenerator` (transformers 5.23, `generation/candidate_generator.py`): what followed the first
earlier occurrence of the last n tokens, the longest n first. Guesses change the speed alone, never the tokens.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from runtime.generation.logits import Tokens

DEFAULT_NGRAM = 2  # HF's


class PromptLookup:
    """Proposes continuations. count: `prompt_lookup_num_tokens`; ngram: `max_matching_ngram_size`."""

    def __init__(self, count: int, ngram: int | None, eos_token_ids: Collection[int]) -> None:
        self.count = count
        self.ngram = DEFAULT_NGRAM if ngram is None else ngram
        self.ends = np.asarray(sorted(eos_token_ids), np.int64)

    def propose(self, history: Tokens, limit: int) -> Tokens:
        """Tokens that may follow `history` `[n]`, at most `limit` and up to an end token; often none."""
        for size in range(min(self.ngram, len(history) - 1), 0, -1):
            start = first_match(history, size)
            if start is not None:
                found = history[start + size : start + size + max(0, min(self.count, limit))]
                ends = np.flatnonzero(np.isin(found, self.ends))
                return found[: ends[0]] if len(ends) else found
        return history[:0]


def first_match(history: Tokens, size: int) -> int | None:
    """Where the last `size` ids of `history` occur for the first time, None if nowhere before."""
    last = len(history) - size  # the occurrence at the very end does not count
    fits = history[:last] == history[last]
    for place in range(1, size):
        fits = fits & (history[place : place + last] == history[last + place])
    found = int(fits.argmax())
    return found if fits[found] else None
