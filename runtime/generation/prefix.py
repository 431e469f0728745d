"""Prefix reuse: a prompt that begins like the contents of a slot, live or retired, is prefilled from there on.

Retired slots keep their keys and values until the place is needed. Keys and values of a position follow from the tokens
up to it alone, so the longest common beginning is valid whatever came after it; windows do not change that, for slots
hold all positions. Runners whose rows cannot be cut at any length (`rewinds` is False) take no part.

Memory is not grown to keep prefixes: only slots that were needed before hold any. The least recently used goes first.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np

MIN_REUSE = 32  # tokens; a run of its own for the rest costs about as much as computing this many in a shared one


class Slots(Protocol):
    """What of a runner is used here."""

    rewinds: bool

    @property
    def allocated(self) -> int: ...
    def held(self, slot: int) -> np.ndarray: ...
    def rewind(self, slot: int, length: int) -> None: ...
    def copy(self, source: int, target: int, length: int | None = None) -> None: ...
    def swap(self, one: int, other: int) -> None: ...


class PrefixReuse:
    """Finds and moves prefixes. used[slot]: when its contents were last in use, as a count of placements."""

    def __init__(self, runner: Slots, slots: int) -> None:
        self.runner = runner
        self.used = [0] * slots
        self._clock = 0

    def match(self, prompt: np.ndarray) -> tuple[int, int]:
        """The slot that shares most with the prompt `[tokens]`, and how many tokens; (0, 0) for too few.

        At most all but the last token, which has to be run for its logits.
        """
        if not self.runner.rewinds or len(prompt) <= MIN_REUSE:
            return 0, 0
        counts = [common(self.runner.held(slot), prompt[:-1]) for slot in range(self.runner.allocated)]
        best = int(np.argmax(counts)) if counts else 0
        return (best, counts[best]) if counts and counts[best] >= MIN_REUSE else (0, 0)

    def place(self, slot: int, found: tuple[int, int], live: int | None = None) -> int:
        """Bring what `match` found into `slot`, the first free one; returns how many tokens it holds then.

        A retired slot that is used for the most part is taken over, anything else is copied; what `slot` held before
        moves to where the least recently used contents are. live: a slot behind it that is not free all the same.
        """
        self._clock += 1
        source, count = found
        if not self.runner.rewinds:
            return 0
        if count and source >= slot and source != live and 2 * count >= len(self.runner.held(source)):
            self.swap(source, slot)
        else:
            self._evacuate(slot, {live, source if count else None})
            if count and source != slot:
                self.runner.copy(source, slot, count)
                self.used[source] = self._clock
        self.runner.rewind(slot, count)
        self.used[slot] = self._clock
        return count

    def swap(self, one: int, other: int) -> None:
        """Exchange two slots."""
        if one != other:
            self.runner.swap(one, other)
            self.used[one], self.used[other] = self.used[other], self.used[one]

    def move(self, slot: int, target: int) -> None:
        """Bring the contents of a slot into a retired one, whose own are kept in exchange if they are worth it."""
        if self.runner.rewinds and len(self.runner.held(target)) >= MIN_REUSE:
            self.swap(slot, target)
        else:
            self.runner.copy(slot, target)
            self.used[slot], self.used[target] = 0, self.used[slot]

    def retire(self, slot: int) -> None:
        """Its sequence has ended: what it holds is now the most recently used."""
        self._clock += 1
        self.used[slot] = self._clock

    def _evacuate(self, slot: int, kept: Collection[int | None]) -> None:
        """Save the contents of `slot`, unless they are the least worth keeping; the slots `kept` stay in any case."""
        free = [other for other in range(slot, self.runner.allocated) if other == slot or other not in kept]
        if len(free) < 2 or len(self.runner.held(slot)) < MIN_REUSE:
            return
        victim = min(free, key=lambda other: (len(self.runner.held(other)) >= MIN_REUSE, self.used[other]))
        if victim != slot:
            self.runner.copy(slot, victim)
            self.used[victim] = self.used[slot]


def common(one: np.ndarray, other: np.ndarray) -> int:
    """How many ids two rows share at their beginning."""
    count = min(len(one), len(other))
    differs = one[:count] != other[:count]
    first = int(differs.argmax()) if count else 0
    return count if not count or not differs[first] else first
