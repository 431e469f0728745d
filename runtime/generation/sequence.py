"""One request on its way through the engine."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Protocol

import numpy as np

from runtime.generation.logprobs import TokenLogprobs
from runtime.generation.lookup import PromptLookup
from runtime.generation.sampling import Sampler
from runtime.generation.stopping import Stopping


class Generated(Protocol):
    """What generation gives for one sequence: all ids, those after the prompt, and why it ended.

    logprobs: of each token after the prompt; empty unless they were asked for.
    """

    @property
    def ids(self) -> list[int]: ...
    @property
    def tokens(self) -> list[int]: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def logprobs(self) -> list[TokenLogprobs]: ...


class Sequence:
    """A prompt, the tokens generated so far, and where it stands. source: what an encoder reads, `[1, ...]` arrays.

    ids: prompt and generated tokens. slot: its row in the runner's memory, None while it waits and after it has ended.
    finish_reason: None while it runs, then "stop" (an end token), "stop_string", "length", "time", "cancelled" or
    "error". lookup: proposes tokens for the model to verify, None without speculation.
    """

    def __init__(
        self,
        prompt_ids: np.ndarray,
        sampler: Sampler,
        stopping: Stopping,
        source: Mapping[str, np.ndarray] | None = None,
        lookup: PromptLookup | None = None,
    ) -> None:
        self.prompt_ids = prompt_ids
        self.source = source
        self.source_ids = source_ids(source)
        self.ids: list[int] = prompt_ids.tolist()
        # The same ids for arithmetic: turning the list into an array in every step would cost more than the step.
        self._history = np.empty(max(stopping.max_length, len(prompt_ids)), np.int64)
        self._history[: len(prompt_ids)] = prompt_ids
        self._cells = memoryview(self._history)  # type: ignore[arg-type]
        self.logprobs: list[TokenLogprobs] = []
        self.sampler = sampler
        self.stopping = stopping
        self.lookup = lookup
        self.slot: int | None = None
        self.finish_reason: str | None = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._events: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._listener: Callable[[int | None], None] = self._events.put

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt_ids)

    @property
    def tokens(self) -> list[int]:
        """The generated tokens."""
        return self.ids[self.prompt_length :]

    @property
    def history(self) -> np.ndarray:
        """`ids` as int64 `[tokens]`, a view."""
        return self._history[: len(self.ids)]

    def push(self, token: int, logprobs: TokenLogprobs | None = None) -> None:
        """Append a token, and end if it was the last one."""
        self._cells[len(self.ids)] = token
        self.ids.append(token)
        if logprobs is not None:
            self.logprobs.append(logprobs)
        with self._lock:
            self._listener(token)
        reason = self.stopping.reason(self.ids)
        if reason is not None:
            self.finish(reason)

    def finish(self, reason: str, error: BaseException | None = None) -> None:
        """End it, waking whoever waits."""
        self.error, self.finish_reason = error, reason  # in this order: who sees the reason sees the error too
        with self._lock:
            self._listener(None)
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

    async def async_events(self) -> AsyncGenerator[int, None]:
        """As `events`, for the running event loop. Leaving the loop early, or its task's end, cancels the sequence."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[int | None] = asyncio.Queue()

        def pass_on(token: int | None) -> None:
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, token)
            except RuntimeError:  # the loop is closed: nobody listens any more
                self.cancel()

        self._listen(pass_on)
        try:
            while (token := await arrived.get()) is not None:
                yield token
        finally:
            if self.finish_reason is None:
                self.cancel()
        if self.error is not None:
            raise self.error

    def _listen(self, listener: Callable[[int | None], None]) -> None:
        """Send what has come so far, and all that comes, to `listener`."""
        with self._lock:
            while not self._events.empty():
                listener(self._events.get_nowait())
            self._listener = listener


class ending:
    """End `sequences` with the error that is raised inside, and carry on."""

    __slots__ = ("sequences",)

    def __init__(self, sequences: list[Sequence]) -> None:
        self.sequences = sequences

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        fail(self.sequences, error)
        return True


def fail(sequences: list[Sequence], error: Exception) -> None:
    """End those that have not ended with an error."""
    for sequence in sequences:
        if sequence.finish_reason is None:
            sequence.finish("error", error)


def source_ids(source: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
    """The token ids that an encoder reads, for processors that look at them; None where it reads none (an image)."""
    if source is None or "input_ids" not in source:
        return None
    ids: np.ndarray = source["input_ids"][0]
    return ids
