"""When a sequence ends, and why: HF's stopping criteria (transformers 5.23, `generation/stopping_criteria.py`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Literal

import numpy as np

from runtime.errors import InputError
from runtime.generation.config import GenerationConfig

Decode = Callable[[list[int]], str]
FinishReason = Literal["stop", "stop_string", "length", "time"]

# Tokens decoded before those that can hold a stop string: decoders change the first token of a text (leading space),
# and a character of up to four bytes may begin there.
CONTEXT_TOKENS = 4


class StopStrings:
    """HF's `StopStringCriteria`: a stop string that the last token has a part in.

    `decode` turns ids into text, special tokens included and without any clean-up. As in HF, the string may begin in
    the prompt, may be followed by more text of the same token, and counts only in the step that completed it. The
    cost of a step is one decoding of as many tokens as the longest stop string has bytes.
    """

    def __init__(self, strings: Sequence[str], decode: Decode) -> None:
        self.strings = list(strings)
        self.decode = decode
        self.reach = max(len(string.encode()) for string in strings) + CONTEXT_TOKENS

    def __call__(self, ids: Sequence[int]) -> bool:
        """Whether the last token of `ids` (prompt first) completed one of the strings."""
        tail = [int(i) for i in ids[-self.reach :]]
        text = self.decode(tail)
        if not any(string in text for string in self.strings):
            return False
        # Not the length of the text before: an unfinished character shows as U+FFFD there and is replaced here.
        settled = _common_prefix(text, self.decode(tail[:-1]))
        return any(text.find(string, max(settled - len(string) + 1, 0)) >= 0 for string in self.strings)


class Stopping:
    """The stopping criteria of one request. Stateless between steps but for the clock of `max_time`.

    config: the request's parameters. prompt_length: tokens of the prompt (the decoder's, for encoder-decoders).
    decode: as in `StopStrings`; needed only with `stop_strings`. limit: tokens a sequence may have at most for other
    reasons, such as the size of a cache slot.
    """

    def __init__(
        self, config: GenerationConfig, prompt_length: int, decode: Decode | None = None, limit: int | None = None
    ) -> None:
        total = config.max_total_length(prompt_length)
        self.max_length = total if limit is None else min(total, limit)
        self.eos_token_ids = frozenset(config.eos_token_ids)
        self.stop_strings = _stop_strings(config, decode)
        self.deadline = None if config.max_time is None else time.monotonic() + config.max_time

    def reason(self, ids: Sequence[int]) -> FinishReason | None:
        """Why the sequence `ids` (prompt first) ends with its last token, or None when it goes on."""
        if ids[-1] in self.eos_token_ids:
            return "stop"
        if self.stop_strings is not None and self.stop_strings(ids):
            return "stop_string"
        if len(ids) >= self.max_length:
            return "length"
        return "time" if self.deadline is not None and time.monotonic() > self.deadline else None

    def ended(self, sequences: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of several sequences `[n]` end with their last token; bool `[n]`."""
        return np.asarray([self.reason(ids) is not None for ids in sequences], np.bool_)


def _stop_strings(config: GenerationConfig, decode: Decode | None) -> StopStrings | None:
    if not config.stop_strings:
        return None
    if decode is None:
        raise InputError("stop_strings need a tokenizer, and this model came without one")
    return StopStrings(config.stop_strings, decode)


def _common_prefix(one: str, other: str) -> int:
    """How many characters two texts share at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
