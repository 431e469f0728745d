"""The scheduler: admit waiting requests into free slots, decode all active ones in one step, retire those that ended.

One engine serves local batches (the caller drives the steps), streaming and servers (a background thread drives them).
Active sequences always occupy the first slots of the runner, so that a step is one contiguous batch. A long prompt is
read in chunks, one a step, so that those that decode are never kept waiting for longer than a chunk takes; it is then
the last of the active ones. Prompts are read in the order in which they came, but between two chunks of a long one a
short one may go first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as Items
from contextlib import contextmanager

import numpy as np

from runtime.errors import CapacityError, InputError
from runtime.generation.cancellation import check_cancelled
from runtime.generation.candidates import Step, take
from runtime.generation.choice import advance
from runtime.generation.group import Group
from runtime.generation.prefix import PrefixReuse, common
from runtime.generation.runner import Runner
from runtime.generation.sequence import Sequence, ending
from runtime.generation.slots import PREFILL_CHUNK
from runtime.generation.statistics import Counters, Memory, Statistics

# Prompts are prefilled together when padding them to the longest adds at most this share of work.
PADDING_WASTE = 0.25
# Tokens of prompts that one step reads while nobody decodes, in units of the chunk.
IDLE_CHUNKS = 8
# A prompt that shares this many tokens with one that is about to be read waits for it, and takes them from its slot.
WORTH_WAITING = 64
# Seconds between looks whether a caller still wants the runner that it waits for.
PATIENCE = 0.05


class Engine:
    """Runs sequences to their end. Thread-safe: `submit` from anywhere; steps are serialised by a lock.

    max_waiting: length of the queue, beyond which `submit` refuses. chunk: tokens of prompts that a step reads while
    others decode. candidates: whether steps fetch only the best tokens of each row where these are enough for all of
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
        self.active: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.lock = threading.RLock()
        self._filling: Sequence | None = None  # the last of the active ones, if its prompt is still being read
        self._overtaken = False  # whether a short prompt has just gone before the filling one
        self._prefixes = PrefixReuse(runner, runner.slots)
        self._counters = Counters()
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
            while not all(sequence.done.is_set() for sequence in sequences):
                check_cancelled()
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
            self._read_prompts()
            self._retire()
            rows = self._decoding()
            if rows:
                with ending(rows):
                    self._decode(rows)
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
                    self._end(sequence, "cancelled")
            self.active.clear()
            self.waiting.clear()
            self._filling = None

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

    def _end(self, sequence: Sequence, reason: str, error: BaseException | None = None) -> None:
        sequence.finish(reason, error)
        self._counters.finished[reason] += 1

    # ---- prompts

    def _read_prompts(self) -> None:
        """Read prompts for one step: the next chunk of a long one, or those of waiting sequences, in their order."""
        if self._filling is not None:
            self._overtaken = not self._overtaken and self._overtake(self._filling)
            if not self._overtaken:
                self._read_chunk(self._filling)
            return
        if self.runner.lockstep and self.active:
            return  # rows that start later would never be as long as these, and need runs of their own to the end
        budget = self.chunk if self.active else IDLE_CHUNKS * self.chunk
        group = Group()
        while self._filling is None and (sequence := self._next(len(group.everyone))) is not None:
            found = self._prefixes.match(sequence.prompt_ids)
            rest = len(sequence.prompt_ids) - found[1]
            too_long = rest > min(budget, self.chunk) and bool(group.sequences)
            if too_long or self._is_worth_waiting(sequence, found, group):
                break
            with self._work:
                self.waiting.popleft()
            if self.runner.rewinds and (found[1] or rest > self.chunk):
                self._read_alone(sequence, found)
                budget -= rest
            else:
                budget -= rest * group.add(sequence)
            if budget <= 0:
                break
        if group.sequences:
            with ending(group.everyone):
                self._read_group(group)

    def _next(self, taken: int) -> Sequence | None:
        """The next waiting sequence if a slot is free beside `taken` ones; cancelled ones are dropped."""
        if not self.waiting:
            return None
        with self._work:
            for sequence in [sequence for sequence in self.waiting if sequence.cancelled]:
                self.waiting.remove(sequence)
                self._end(sequence, "cancelled")
            if self._held or not self.waiting or len(self.active) + taken >= self.runner.slots:
                return None
            return self.waiting[0]

    def _overtake(self, filling: Sequence) -> bool:
        """Read a short prompt instead of the next chunk of a long one, if there is one; it decodes from now on."""
        sequence = self._next(0)
        if sequence is None or len(sequence.prompt_ids) - self._prefixes.match(sequence.prompt_ids)[1] > self.chunk:
            return False
        with self._work:
            self.waiting.popleft()
        self.active.pop()
        try:
            self._make_room(sequence, filling)
        finally:
            self.active.append(filling)
            self._filling = filling
        return True

    def _make_room(self, sequence: Sequence, filling: Sequence) -> None:
        """Those that decode are the first ones: the long prompt moves behind the new one."""
        try:
            self.runner.reserve(len(self.active) + 2, sequence.stopping.max_length)
        except CapacityError as error:
            self._end(sequence, "error", error)
            return
        self._move(filling, len(self.active) + 1)
        self._read_alone(sequence, self._prefixes.match(sequence.prompt_ids), filling.slot)

    def _is_worth_waiting(self, sequence: Sequence, found: tuple[int, int], group: Group) -> bool:
        if not self.runner.rewinds or group.place(sequence) is not None:
            return False
        shared = (common(other.prompt_ids, sequence.prompt_ids) for other in group.sequences)
        return max(shared, default=0) >= max(WORTH_WAITING, found[1] + 1)

    def _read_alone(self, sequence: Sequence, found: tuple[int, int], live: int | None = None) -> None:
        """Begin with a prompt that is long, or partly known. live: a slot behind its own that is not free."""
        self._filling = sequence
        self._take_slot(sequence)
        with ending([sequence]):
            assert sequence.slot is not None
            self.runner.reserve(len(self.active), sequence.stopping.max_length)
            reused = self._prefixes.place(sequence.slot, found, live)
            self._counters.reused_tokens += reused
            self._counters.prefix_hits += reused > 0
            self._read_chunk(sequence)
        if sequence.finish_reason is not None:
            self._filling = None

    def _read_chunk(self, sequence: Sequence) -> None:
        """The next tokens of the prompt; behind the last ones the sequence decodes."""
        with ending([sequence]):
            assert sequence.slot is not None
            start = len(self.runner.held(sequence.slot))
            chunk = sequence.prompt_ids[start : start + self.chunk]
            step = self.runner.prefill(sequence.slot, chunk, start, self._candidates_do([sequence]))
            self._counters.prefill_runs += 1
            if start + len(chunk) == len(sequence.prompt_ids):
                self._filling = None
                self._advance([sequence], step)

    def _read_group(self, group: Group) -> None:
        first = len(self.active)
        for sequence in group.everyone:
            self._take_slot(sequence)
        self.runner.reserve(len(self.active), max(sequence.stopping.max_length for sequence in group.everyone))
        for slot, sequence in enumerate(group.sequences, first):
            self._prefixes.place(slot, (0, 0))
            if sequence.source is not None:
                self.runner.encode(slot, sequence.source)
        prompts = [sequence.prompt_ids for sequence in group.sequences]
        best = self._candidates_do(group.everyone)
        if len(prompts) > 1 and little_padding(prompts):
            step = self.runner.prefill_together(first, prompts, best)
            self._counters.prefill_runs += 1
        else:
            step = self.runner.prefill_each(range(first, first + len(prompts)), prompts, best)
            self._counters.prefill_runs += len(prompts)
        rows = list(range(len(prompts)))
        for slot, (_, place) in enumerate(group.repeats, first + len(prompts)):
            self.runner.copy(first + place, slot)
            rows.append(place)
        self._advance(group.everyone, take(step, rows) if group.repeats else step)

    def _take_slot(self, sequence: Sequence) -> None:
        sequence.slot = len(self.active)
        self.active.append(sequence)
        self._counters.prompt_tokens += len(sequence.prompt_ids)

    # ---- steps

    def _decoding(self) -> list[Sequence]:
        """The active sequences whose prompts have been read; they are the first ones."""
        return self.active if self._filling is None else self.active[:-1]

    def _decode(self, rows: list[Sequence]) -> None:
        self._counters.decode_steps += 1
        draft = self._draft(rows)
        if draft is not None:
            self._verify(rows[0], draft)
            return
        tokens = [sequence.ids[-1] for sequence in rows]
        self._advance(rows, self.runner.decode(tokens, self._candidates_do(rows)))

    def _candidates_do(self, rows: list[Sequence]) -> bool:
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
        step = self.runner.extend(sequence.slot, tokens, self._candidates_do([sequence]))
        for row, expected in enumerate([*draft.tolist(), None]):
            self._advance([sequence], take(step, [row]))
            if sequence.finish_reason is not None or sequence.ids[-1] != expected:
                break
        accepted = max(0, len(sequence.ids) - before - 1)
        sequence.lookup.learn(accepted)
        self._counters.accepted_tokens += accepted
        self.runner.rewind(sequence.slot, len(sequence.ids) - 1)

    def _advance(self, sequences: list[Sequence], step: Step) -> None:
        advance(sequences, step)
        self._counters.generated_tokens += len(sequences)

    # ---- ends

    def _retire(self) -> None:
        """Free the slots of sequences that ended; the last rows move into the holes."""
        for sequence in self.active:
            if sequence.cancelled and sequence.finish_reason is None:
                sequence.finish("cancelled")
        if all(sequence.finish_reason is None for sequence in self.active):
            return
        filling = self.active.pop() if self._filling is not None else None
        slot = 0
        while slot < len(self.active):
            if self.active[slot].finish_reason is None:
                slot += 1
                continue
            self._release(self.active[slot])
            last = self.active.pop()
            if slot < len(self.active):
                self.active[slot] = last
                if last.finish_reason is None:
                    self._move(last, slot)
        if filling is not None:
            self._retire_filling(filling)

    def _retire_filling(self, filling: Sequence) -> None:
        if filling.finish_reason is not None:
            self._filling = None
            self._release(filling)
            return
        if filling.slot != len(self.active):
            self._move(filling, len(self.active))
        self.active.append(filling)

    def _release(self, sequence: Sequence) -> None:
        assert sequence.slot is not None and sequence.finish_reason is not None
        self._counters.finished[sequence.finish_reason] += 1
        self._prefixes.retire(sequence.slot)
        sequence.slot = None

    def _move(self, sequence: Sequence, slot: int) -> None:
        assert sequence.slot is not None
        self._prefixes.move(sequence.slot, slot)
        sequence.slot = slot


def little_padding(prompts: Items[np.ndarray]) -> bool:
    """Whether running the prompts as one right-padded batch wastes little."""
    lengths = [len(prompt) for prompt in prompts]
    padded = max(lengths) * len(lengths)
    return padded - sum(lengths) <= PADDING_WASTE * padded
