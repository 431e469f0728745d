"""One request on its way through the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from runtime.generation.sampling import Sampler
from runtime.generation.stopping import Stopping


class Generated(Protocol):
    """What generation gives for one sequence: all ids, those after the prompt, and why it ended."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def tokens(self) -> list[int]: ...
    @property
    def finish_reason(self) -> str | None: ...


class Sequence:
    """A prompt, the tokens generated so far, and where it stands. source: what an encoder reads, `[1, ...]` arrays.

    ids: prompt and generated tokens. slot: its row in the runner's memory, None while it waits and after it has ended.
    finish_reason: None while it runs, then "stop" (an end token), "stop_string", "length", "time", "cancelled" or
    "error".
    """

    def __init__(
        self,
        prompt_ids: np.ndarray,
        sampler: Sampler,
        stopping: Stopping,
        source: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.prompt_ids = prompt_ids
        self.source = source
        self.ids: list[int] = prompt_ids.tolist()
        self.sampler = sampler
        self.stopping = stopping
        self.slot: int | None = None
        self.finish_reason: str | None = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.done = threading.Event()
        self._events: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt_ids)

    @property
    def tokens(self) -> list[int]:
        """The generated tokens."""
        return self.ids[self.prompt_length :]

    def choose(self, scores: np.ndarray) -> int:
        """The next token, given the logits `[vocab]` after the last one."""
        read = source_ids(self.source)
        sources = None if read is None else [read]
        return int(self.sampler([self.ids], [self.prompt_length], scores[None], sources)[0])

    def push(self, token: int) -> None:
        """Append a token, and end if it was the last one."""
        self.ids.append(token)
        self._events.put(token)
        reason = self.stopping.reason(self.ids)
        if reason is not None:
            self.finish(reason)

    def finish(self, reason: str, error: BaseException | None = None) -> None:
        """End it, waking whoever waits."""
        self.finish_reason, self.error = reason, error
        self._events.put(None)
        self.done.set()

    def cancel(self) -> None:
        """Ask the engine to drop it at the next step."""
        self.cancelled = True

    def events(self) -> Iterator[int]:
        """Tokens as they come; ends with the sequence. Raises the engine's error if there was one."""
        while (token := self._events.get()) is not None:
            yield token
        if self.error is not None:
            raise self.error


def source_ids(source: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
    """The token ids that an encoder reads, for processors that look at them; None where it reads none (an image)."""
    if source is None or "input_ids" not in source:
        return None
    ids: np.ndarray = source["input_ids"][0]
    return ids
