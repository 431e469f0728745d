"""The scheduler: admit waiting requests into free slots, decode all active ones in one step, retire those that ended.

One engine serves local batches (the caller drives the steps), streaming and servers (a background thread drives them).
Active sequences always occupy the first slots of the runner, so that a step is one contiguous batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Items
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from runtime.errors import CapacityError, InputError
from runtime.generation.sequence import Sequence

# Prompts are prefilled together when padding them to the longest adds at most this share of work.
PADDING_WASTE = 0.25


class Runner(Protocol):
    """What the engine needs from a model: rows of state, filled by prompts and advanced token by token."""

    slots: int
    max_length: int
    vocab_size: int

    def reserve(self, slots: int, length: int) -> None: ...
    def encode(self, slot: int, source: Mapping[str, np.ndarray]) -> None: ...
    def prefill(self, slot: int, input_ids: np.ndarray, start: int = 0) -> np.ndarray: ...
    def prefill_together(self, first_slot: int, prompts: Items[np.ndarray]) -> np.ndarray: ...
    def decode(self, tokens: np.ndarray) -> np.ndarray: ...
    def copy(self, source: int, target: int) -> None: ...
    def reorder(self, rows: Items[int]) -> None: ...


class Engine:
    """Runs sequences to their end. Thread-safe: `submit` from anywhere; steps are serialised by a lock."""

    def __init__(self, runner: Runner, max_waiting: int = 1024) -> None:
        self.runner = runner
        self.max_waiting = max_waiting
        self.active: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.lock = threading.RLock()
        self._work = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._held = False  # whether someone waits for the runner alone

    def submit(self, sequence: Sequence) -> Sequence:
        """Queue a sequence. Raises `InputError` if it can never fit, `CapacityError` when the queue is full."""
        self.check_prompt(len(sequence.prompt_ids))
        with self._work:
            if len(self.waiting) >= self.max_waiting:
                raise CapacityError(f"{self.max_waiting} requests are waiting already: try again later")
            self.waiting.append(sequence)
            self._work.notify_all()
        return sequence

    def check_prompt(self, length: int) -> None:
        """Raise `InputError` for a prompt of `length` tokens that could never run."""
        if length == 0:
            raise InputError("the prompt is empty and the tokenizer adds no start token: give at least one token")
        if length >= self.runner.max_length:
            raise InputError(
                f"the prompt has {length} tokens, the model's context holds {self.runner.max_length}: shorten it"
            )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Have the runner alone: finish what is under way, admit nobody, then keep everyone else out."""
        with self.lock:
            self._held = True
            try:
                while self.active:
                    self.step()
                yield
            finally:
                self._held = False

    def run(self, sequences: Items[Sequence]) -> None:
        """Run sequences to their end, driving the steps from this thread; raises the first one's error.

        Any number of them: they are the caller's own, so `max_waiting` does not apply. A prompt that can never fit
        is an `InputError` before anything runs; leaving early (Ctrl-C) cancels what is still under way.
        """
        for sequence in sequences:
            self.check_prompt(len(sequence.prompt_ids))
        with self._work:
            self.waiting.extend(sequences)
            self._work.notify_all()
        try:
            while not all(sequence.done.is_set() for sequence in sequences):
                self.step()
        except BaseException:
            for sequence in sequences:
                sequence.cancel()
            raise
        for sequence in sequences:
            if sequence.error is not None:
                raise sequence.error

    def step(self) -> None:
        """Admit, decode once, retire. An error ends the sequences it struck, and leaves the engine usable.

        A prompt that fails does not touch those that decode; a sampler that fails ends its own sequence alone.
        """
        with self.lock:
            self._retire()
            admitted = self._admit()
            with ending(admitted):
                self._prefill(admitted)
            with ending(self.active):
                self._decode()
            self._retire()

    def start(self) -> None:
        """Start the background thread that drives the steps; does nothing if it runs."""
        with self._work:
            if self._thread is None or not self._thread.is_alive():
                self._closing = False
                self._thread = threading.Thread(target=self._loop, name="onward-engine", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop the background thread; sequences still under way end as "cancelled"."""
        with self._work:
            self._closing = True
            self._work.notify_all()
        if self._thread is not None:
            self._thread.join()
        with self.lock, self._work:
            for sequence in [*self.active, *self.waiting]:
                if sequence.finish_reason is None:
                    sequence.finish("cancelled")
            self.active.clear()
            self.waiting.clear()

    @property
    def busy(self) -> bool:
        """Whether anything is active or waiting."""
        return bool(self.active or self.waiting)

    def _loop(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._closing or self.busy)
                if self._closing:
                    return
            self.step()

    def _admit(self) -> list[Sequence]:
        """Take waiting sequences into the free slots, first come first served; drop the cancelled ones."""
        with self._work:
            for sequence in [sequence for sequence in self.waiting if sequence.cancelled]:
                self.waiting.remove(sequence)
                sequence.finish("cancelled")
            free = 0 if self._held else self.runner.slots - len(self.active)
            admitted = [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]
            self.active += admitted
        return admitted

    def _prefill(self, admitted: list[Sequence]) -> None:
        if not admitted:
            return
        first = len(self.active) - len(admitted)
        for slot, sequence in enumerate(admitted, first):
            sequence.slot = slot
        self.runner.reserve(len(self.active), max(sequence.stopping.max_length for sequence in admitted))
        for slot, sequence in enumerate(admitted, first):
            if sequence.source is not None:
                self.runner.encode(slot, sequence.source)
        prompts = [sequence.prompt_ids for sequence in admitted]
        if len(admitted) > 1 and little_padding(prompts):
            logits = self.runner.prefill_together(first, prompts)
        else:
            logits = np.stack([self.runner.prefill(first + row, prompt) for row, prompt in enumerate(prompts)])
        self._advance(admitted, logits)

    def _decode(self) -> None:
        running = [sequence for sequence in self.active if sequence.finish_reason is None]
        if not running or len(running) != len(self.active):
            return  # retire first: rows must be contiguous
        tokens = np.array([sequence.ids[-1] for sequence in running], np.int64)
        self._advance(running, self.runner.decode(tokens))

    def _advance(self, sequences: list[Sequence], logits: np.ndarray) -> None:
        """Choose each row's next token from its logits `[rows, vocab]`."""
        greedy = logits.argmax(axis=-1)
        for row, sequence in enumerate(sequences):
            with ending([sequence]):
                sequence.push(int(greedy[row]) if sequence.sampler.is_plain_greedy else sequence.choose(logits[row]))

    def _retire(self) -> None:
        """Free the slots of sequences that ended; the last rows move into the holes."""
        for sequence in self.active:
            if sequence.cancelled and sequence.finish_reason is None:
                sequence.finish("cancelled")
        slot = 0
        while slot < len(self.active):
            if self.active[slot].finish_reason is None:
                slot += 1
                continue
            self.active[slot].slot = None
            last = self.active.pop()
            if slot < len(self.active):
                self.active[slot] = last
                if last.finish_reason is None:
                    self.runner.copy(len(self.active), slot)
                    last.slot = slot


@contextmanager
def ending(sequences: list[Sequence]) -> Iterator[None]:
    """End `sequences` with the error that is raised inside, and carry on."""
    try:
        yield
    except Exception as error:
        for sequence in sequences:
            if sequence.finish_reason is None:
                sequence.finish("error", error)


def little_padding(prompts: Items[np.ndarray]) -> bool:
    """Whether running the prompts as one right-padded batch wastes little."""
    lengths = [len(prompt) for prompt in prompts]
    padded = max(lengths) * len(lengths)
    return padded - sum(lengths) <= PADDING_WASTE * padded
