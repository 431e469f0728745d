"""Reads the prompts of sequences that wait: in shared runs, chunk by chunk, or from where a known prefix ends."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import CapacityError
from runtime.generation.active_rows import ActiveRows
from runtime.generation.candidates import take
from runtime.generation.group import Group
from runtime.generation.prefix import common
from runtime.generation.sequence import Sequence, ending

if TYPE_CHECKING:
    from runtime.generation.engine import Engine

# Prompts are prefilled together when padding them to the longest adds at most this share of work.
PADDING_WASTE = 0.25
# Tokens of prompts that one step reads while nobody decodes, in units of the chunk.
IDLE_CHUNKS = 8
# A prompt that shares this many tokens with one that is about to be read waits for it, and takes them from its slot.
WORTH_WAITING = 64


class PromptReader:
    """Reads prompts for an engine, into the slots behind those of its active sequences.

    A long prompt is read in chunks, one a step, so that those that decode are never kept waiting for longer than a
    chunk takes; it is then the last of the active ones. Prompts are read in the order in which they came, but between
    two chunks of a long one a short one may go first.
    """

    def __init__(self, engine: Engine, rows: ActiveRows) -> None:
        self.engine = engine
        self.rows = rows
        self.runner = engine.runner
        self._overtaken = False  # whether a short prompt has just gone before the filling one

    def read(self) -> None:
        """Read prompts for one step: the next chunk of a long one, or those of waiting sequences, in their order."""
        if self.rows.filling is not None:
            self._overtaken = not self._overtaken and self._overtake(self.rows.filling)
            if not self._overtaken:
                self._read_chunk(self.rows.filling)
            return
        if self.runner.lockstep and self.rows.sequences:
            return  # rows that start later would never be as long as these, and need runs of their own to the end
        budget = self.engine.chunk if self.rows.sequences else IDLE_CHUNKS * self.engine.chunk
        group = Group()
        while self.rows.filling is None and (sequence := self.engine.next_waiting(len(group.everyone))) is not None:
            found = self.rows.prefixes.match(sequence.prompt_ids)
            rest = len(sequence.prompt_ids) - found[1]
            too_long = rest > min(budget, self.engine.chunk) and bool(group.sequences)
            if too_long or self._is_worth_waiting(sequence, found, group):
                break
            self.engine.admit()
            if self.runner.rewinds and (found[1] or rest > self.engine.chunk):
                self._read_alone(sequence, found)
                budget -= rest
            else:
                budget -= rest * group.add(sequence)
            if budget <= 0:
                break
        if group.sequences:
            with ending(group.everyone):
                self._read_group(group)

    def _overtake(self, filling: Sequence) -> bool:
        """Read a short prompt instead of the next chunk of a long one, if there is one; it decodes from now on."""
        sequence = self.engine.next_waiting(0)
        if (
            sequence is None
            or len(sequence.prompt_ids) - self.rows.prefixes.match(sequence.prompt_ids)[1] > self.engine.chunk
        ):
            return False
        self.engine.admit()
        self.rows.sequences.pop()
        try:
            self._make_room(sequence, filling)
        finally:
            self.rows.sequences.append(filling)
            self.rows.filling = filling
        return True

    def _make_room(self, sequence: Sequence, filling: Sequence) -> None:
        """Those that decode are the first ones: the long prompt moves behind the new one."""
        try:
            self.runner.reserve(len(self.rows) + 2, sequence.stopping.max_length)
        except CapacityError as error:
            self.engine.end(sequence, "error", error)
            return
        self.rows.move(filling, len(self.rows) + 1)
        self._read_alone(sequence, self.rows.prefixes.match(sequence.prompt_ids), filling.slot)

    def _is_worth_waiting(self, sequence: Sequence, found: tuple[int, int], group: Group) -> bool:
        if not self.runner.rewinds or group.place(sequence) is not None:
            return False
        shared = (common(other.prompt_ids, sequence.prompt_ids) for other in group.sequences)
        return max(shared, default=0) >= max(WORTH_WAITING, found[1] + 1)

    def _read_alone(self, sequence: Sequence, found: tuple[int, int], live: int | None = None) -> None:
        """Begin with a prompt that is long, or partly known. live: a slot behind its own that is not free."""
        self.rows.filling = sequence
        self.rows.add(sequence)
        with ending([sequence]):
            assert sequence.slot is not None
            self.runner.reserve(len(self.rows), sequence.stopping.max_length)
            reused = self.rows.prefixes.place(sequence.slot, found, live)
            self.rows.counters.reused_tokens += reused
            self.rows.counters.prefix_hits += reused > 0
            self._read_chunk(sequence)
        if sequence.finish_reason is not None:
            self.rows.filling = None

    def _read_chunk(self, sequence: Sequence) -> None:
        """The next tokens of the prompt; behind the last ones the sequence decodes."""
        with ending([sequence]):
            assert sequence.slot is not None
            start = len(self.runner.held(sequence.slot))
            chunk = sequence.prompt_ids[start : start + self.engine.chunk]
            step = self.runner.prefill(sequence.slot, chunk, start, self.engine.candidates_do([sequence]))
            self.rows.counters.prefill_runs += 1
            if start + len(chunk) == len(sequence.prompt_ids):
                self.rows.filling = None
                self.engine.advance([sequence], step)

    def _read_group(self, group: Group) -> None:
        first = len(self.rows)
        for sequence in group.everyone:
            self.rows.add(sequence)
        self.runner.reserve(len(self.rows), max(sequence.stopping.max_length for sequence in group.everyone))
        for slot, sequence in enumerate(group.sequences, first):
            self.rows.prefixes.place(slot, (0, 0))
            if sequence.source is not None:
                self.runner.encode(slot, sequence.source)
        prompts = [sequence.prompt_ids for sequence in group.sequences]
        best = self.engine.candidates_do(group.everyone)
        if len(prompts) > 1 and little_padding(prompts):
            step = self.runner.prefill_together(first, prompts, best)
            self.rows.counters.prefill_runs += 1
        else:
            step = self.runner.prefill_each(range(first, first + len(prompts)), prompts, best)
            self.rows.counters.prefill_runs += len(prompts)
        rows = list(range(len(prompts)))
        for slot, (_, place) in enumerate(group.repeats, first + len(prompts)):
            self.runner.copy(first + place, slot)
            rows.append(place)
        self.engine.advance(group.everyone, take(step, rows) if group.repeats else step)


def little_padding(prompts: Items[np.ndarray]) -> bool:
    """Whether running the prompts as one right-padded batch wastes little."""
    lengths = [len(prompt) for prompt in prompts]
    padded = max(lengths) * len(lengths)
    return padded - sum(lengths) <= PADDING_WASTE * padded
