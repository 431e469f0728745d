"""The scheduler: admit waiting requests into free slots, decode all active ones in one step, retire those that ended.

One engine serves local batches (the caller drives the steps), streaming and servers (a background thread drives them).
Which slots they have is `active_rows`, how their prompts are read `prompt_reader`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as Items
from contextlib import contextmanager

import numpy as np

from runtime.errors import CapacityError, InputError
from runtime.generation.active_rows import ActiveRows
from runtime.generation.cancellation import check_cancelled
from runtime.generation.candidates import Step, take
from runtime.generation.choice import advance
from runtime.generation.prompt_reader import PromptReader
from runtime.generation.runner import Runner
from runtime.generation.sequence import Sequence, fail
from runtime.generation.slots import PREFILL_CHUNK
from runtime.generation.statistics import Counters, Memory, Statistics

# Seconds between looks whether a caller still wants the runner that it waits for.
PATIENCE = 0.05


class Engine:
    """Runs sequences to their end. Thread-safe: `submit` from anywhere; steps are serialised by a lock.

    max_waiting: length of the queue, beyond which `submit` refuses. chunk: tokens of prompts that a step reads while
    others decode. candidates: whether runs tell only the best tokens of each row where these are enough for all of
    them; by default where the runner says that it pays (logits on a GPU).
    """

    def __init__(
        self,
        runner: Runner,
        max_waiting: int = 1024,
        chunk: int = PREFILL_CHUNK,
        candidates: bool | None = None,
    ) -> None:
        self.runner = runner
        self.max_waiting = max_waiting
        self.chunk = chunk
        self.candidates = runner.prefers_candidates if candidates is None else candidates and runner.candidates > 0
        self.waiting: deque[Sequence] = deque()
        self.lock = threading.RLock()
        self._counters = Counters()
        self._rows = ActiveRows(runner, self._counters)
        self._reader = PromptReader(self, self._rows)
        self._work = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._held = False  # whether someone waits for the runner alone
        self._occupied = 0  # slots of the one who has it

    def statistics(self) -> Statistics:
        """What has been done since the engine was made, and how much is under way now. From any thread, at once."""
        return self._counters.snapshot(self.runner.slots, len(self.active) + self._occupied, len(self.waiting))

    def memory(self) -> Memory:
        """Bytes of keys and values: those taken now, and the most that can be. Waits for the step under way."""
        with self.lock:
            return self.runner.memory()

    def submit(self, sequence: Sequence) -> Sequence:
        """Queue a sequence. Raises `InputError` if it can never fit, `CapacityError` when the queue is full."""
        self.check_prompt(len(sequence.prompt_ids))
        with self._work:
            if len(self.waiting) >= self.max_waiting:
                raise CapacityError(f"{self.max_waiting} requests are waiting already: try again later")
            self._enqueue([sequence])
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
    def exclusive(self, slots: int = 0) -> Iterator[None]:
        """Have the runner alone: finish what is under way, admit nobody, then keep everyone else out.

        slots: how many the caller fills, for `statistics`; what it did there it tells `count`. Raises `CancelledError`
        if the caller's `Cancellation` says so while it waits.
        """
        while not self.lock.acquire(timeout=PATIENCE):
            check_cancelled()
        try:
            self._held = True
            while self.active:
                check_cancelled()
                self.step()
            self._occupied = slots
            yield
        finally:
            self._held, self._occupied = False, 0
            self.lock.release()

    def count(self, prompts: Items[np.ndarray], endings: Items[tuple[str, int]]) -> None:
        """Count prompts that ran outside of the steps, and how each of their sequences ended: reason, new tokens."""
        with self._work:
            self._counters.requests += len(endings)
            self._counters.prompt_tokens += sum(len(prompt) for prompt in prompts)
            for reason, tokens in endings:
                self._counters.finished[reason] += 1
                self._counters.generated_tokens += tokens

    def run(self, sequences: Items[Sequence]) -> None:
        """Run sequences to their end, driving the steps from this thread; raises the first one's error.

        Any number of them: they are the caller's own, so `max_waiting` does not apply. A prompt that can never fit
        is an `InputError` before anything runs; leaving early (Ctrl-C, a `Cancellation`) cancels what is still under
        way.
        """
        for sequence in sequences:
            self.check_prompt(len(sequence.prompt_ids))
        with self._work:
            self._enqueue(sequences)
        try:
            for sequence in sequences:
                while sequence.finish_reason is None:
                    check_cancelled()
                    self.step()
        except BaseException:
            for sequence in sequences:
                sequence.cancel()
            raise
        for sequence in sequences:
            sequence.done.wait()  # a thread of the engine may be about to say so
            if sequence.error is not None:
                raise sequence.error

    def step(self) -> None:
        """Admit, decode once, retire. An error ends the sequences it struck, and leaves the engine usable.

        A prompt that fails does not touch those that decode; a sampler that fails ends its own sequence alone.
        Behind a run all caches are cold, and to call one more function costs some 9 microseconds: from here to the
        last token, steps call what they need and nothing else.
        """
        with self.lock:
            self._rows.retire()
            if self.waiting or self._rows.filling is not None:
                self._reader.read()
                self._rows.retire()
            rows = self._rows.decoding
            if rows:
                try:
                    self._decode(rows)
                except Exception as error:
                    fail(rows, error)
                self._rows.retire()

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
                    self.end(sequence, "cancelled")
            self._rows.clear()
            self.waiting.clear()

    @property
    def active(self) -> list[Sequence]:
        """The sequences that have slots, in the order of their slots."""
        return self._rows.sequences

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

    def _enqueue(self, sequences: Items[Sequence]) -> None:
        self._counters.requests += len(sequences)
        self.waiting.extend(sequences)
        self._work.notify_all()

    def end(self, sequence: Sequence, reason: str, error: BaseException | None = None) -> None:
        """End a sequence that has no slot."""
        sequence.finish(reason, error)
        self._counters.finished[reason] += 1

    def next_waiting(self, taken: int) -> Sequence | None:
        """The next waiting sequence if a slot is free beside `taken` ones; cancelled ones are dropped."""
        if not self.waiting:
            return None
        with self._work:
            for sequence in [sequence for sequence in self.waiting if sequence.cancelled]:
                self.waiting.remove(sequence)
                self.end(sequence, "cancelled")
            if self._held or not self.waiting or len(self.active) + taken >= self.runner.slots:
                return None
            return self.waiting[0]

    def admit(self) -> None:
        """Take the next waiting sequence out of the queue."""
        with self._work:
            self.waiting.popleft()

    def _decode(self, rows: list[Sequence]) -> None:
        self._counters.decode_steps += 1
        draft = None if rows[0].lookup is None else self._draft(rows)
        if draft is not None:
            self._verify(rows[0], draft)
            return
        best = self.candidates and self.candidates_do(rows)
        advance(rows, self.runner.decode([sequence.ids[-1] for sequence in rows], best))
        self._counters.generated_tokens += len(rows)

    def candidates_do(self, rows: list[Sequence]) -> bool:
        """Whether the best candidates of each row answer all that its request asks."""
        if not self.candidates:
            return False
        needed = [sequence.sampler.candidates for sequence in rows]
        return all(count is not None and count <= self.runner.candidates for count in needed)

    def _draft(self, rows: list[Sequence]) -> np.ndarray | None:
        """Tokens to verify for the only sequence that decodes: several share the reading of the weights already."""
        lookup = rows[0].lookup
        if len(rows) > 1 or lookup is None or not self.runner.rewinds:
            return None
        draft = lookup.propose(rows[0].history, rows[0].stopping.max_length - len(rows[0].ids) - 1)
        return draft if len(draft) else None

    def _verify(self, sequence: Sequence, draft: np.ndarray) -> None:
        """Run the last token and the draft `[n]` at once; tokens are chosen as ever, up to the first that differs."""
        assert sequence.slot is not None and sequence.lookup is not None
        before = len(sequence.ids)
        self._counters.drafted_tokens += len(draft)
        tokens = np.concatenate([sequence.history[-1:], draft])
        step = self.runner.extend(sequence.slot, tokens, self.candidates_do([sequence]))
        for row, expected in enumerate([*draft.tolist(), None]):
            self.advance([sequence], take(step, [row]))
            if sequence.finish_reason is not None or sequence.ids[-1] != expected:
                break
        accepted = max(0, len(sequence.ids) - before - 1)
        sequence.lookup.learn(accepted)
        self._counters.accepted_tokens += accepted
        self.runner.rewind(sequence.slot, len(sequence.ids) - 1)

    def advance(self, sequences: list[Sequence], step: Step) -> None:
        """Give each sequence its next token, from its row of a step."""
        advance(sequences, step)
        self._counters.generated_tokens += len(sequences)
