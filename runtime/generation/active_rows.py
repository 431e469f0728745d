"""The sequences under way: which slots they have, and who moves when one ends."""

from __future__ import annotations

from runtime.generation.prefix import PrefixReuse
from runtime.generation.runner import Runner
from runtime.generation.sequence import Sequence
from runtime.generation.statistics import Counters


class ActiveRows:
    """Sequences in the runner's first slots, without gaps, so that a step is one contiguous batch.

    sequences: all of them, in the order of their slots. filling: the last one, if its prompt is still being read.
    """

    def __init__(self, runner: Runner, counters: Counters) -> None:
        self.runner = runner
        self.counters = counters
        self.prefixes = PrefixReuse(runner, runner.slots)
        self.sequences: list[Sequence] = []
        self.filling: Sequence | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def decoding(self) -> list[Sequence]:
        """Those whose prompts have been read; they are the first ones."""
        return self.sequences if self.filling is None else self.sequences[:-1]

    def add(self, sequence: Sequence) -> None:
        """Give a sequence the slot behind the others."""
        sequence.slot = len(self.sequences)
        self.sequences.append(sequence)
        self.counters.prompt_tokens += len(sequence.prompt_ids)

    def move(self, sequence: Sequence, slot: int) -> None:
        """Bring a sequence into a slot that is free."""
        assert sequence.slot is not None
        self.prefixes.move(sequence.slot, slot)
        sequence.slot = slot

    def retire(self) -> None:
        """Free the slots of sequences that ended; the last rows move into the holes."""
        ended = False
        for sequence in self.sequences:
            if sequence.cancelled and sequence.finish_reason is None:
                sequence.finish("cancelled")
            ended |= sequence.finish_reason is not None
        if ended:
            self._close_gaps()

    def clear(self) -> None:
        """Forget all of them."""
        self.sequences.clear()
        self.filling = None

    def _close_gaps(self) -> None:
        filling = self.sequences.pop() if self.filling is not None else None
        slot = 0
        while slot < len(self.sequences):
            if self.sequences[slot].finish_reason is None:
                slot += 1
                continue
            self._release(self.sequences[slot])
            last = self.sequences.pop()
            if slot < len(self.sequences):
                self.sequences[slot] = last
                if last.finish_reason is None:
                    self.move(last, slot)
        if filling is not None:
            self._retire_filling(filling)

    def _retire_filling(self, filling: Sequence) -> None:
        if filling.finish_reason is not None:
            self.filling = None
            self._release(filling)
            return
        if filling.slot != len(self.sequences):
            self.move(filling, len(self.sequences))
        self.sequences.append(filling)

    def _release(self, sequence: Sequence) -> None:
        assert sequence.slot is not None and sequence.finish_reason is not None
        self.counters.finished[sequence.finish_reason] += 1
        self.prefixes.retire(sequence.slot)
        sequence.slot = None
