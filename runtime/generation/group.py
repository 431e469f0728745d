"""Prompts that are read together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from runtime.generation.sequence import Sequence


@dataclass
class Group:
    """Prompts that one run reads from their beginning, in neighbouring slots, and repetitions of them."""

    sequences: list[Sequence] = field(default_factory=list)
    repeats: list[tuple[Sequence, int]] = field(default_factory=list)  # with the place of the first in `sequences`

    def add(self, sequence: Sequence) -> bool:
        """Take a sequence in; says whether its prompt has to be read."""
        place = self.place(sequence)
        if place is None:
            self.sequences.append(sequence)
        else:
            self.repeats.append((sequence, place))
        return place is None

    def place(self, sequence: Sequence) -> int | None:
        """Where a sequence with the same prompt and source stands, None for a new one."""
        for place, other in enumerate(self.sequences):
            if other.source is sequence.source and np.array_equal(other.prompt_ids, sequence.prompt_ids):
                return place
        return None

    @property
    def everyone(self) -> list[Sequence]:
        """All of them."""
        return [*self.sequences, *(sequence for sequence, _ in self.repeats)]
