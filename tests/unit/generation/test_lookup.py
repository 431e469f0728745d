"""How many tokens prompt lookup dares to propose; what they are is in tests/parity."""

from __future__ import annotations

import numpy as np

from runtime.generation.lookup import LONGEST_PAUSE, PromptLookup

TEXT = np.array([7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2])


def proposed(lookup: PromptLookup) -> list[int]:
    found: list[int] = lookup.propose(TEXT, 100).tolist()
    return found


def test_the_width_follows_what_was_accepted() -> None:
    lookup = PromptLookup(6, 2, [])
    assert proposed(lookup) == [3, 4, 5, 6, 7, 8]
    widths = []
    for accepted in (2, 1, 3, 6):
        lookup.learn(accepted)
        widths.append(len(proposed(lookup)))
    assert widths == [5, 3, 6, 6]


def test_rejections_make_it_pause() -> None:
    """Longer each time, and one token then; a success ends that."""
    lookup = PromptLookup(6, 2, [])
    pauses = []
    for _ in range(7):
        lookup.learn(0)
        steps = 0
        while not (found := proposed(lookup)):
            steps += 1
        assert found == [3]
        pauses.append(steps)
    assert pauses == [1, 2, 4, 8, 16, 16, 16] and max(pauses) == LONGEST_PAUSE
    lookup.learn(1)
    assert proposed(lookup) == [3, 4, 5]
    lookup.learn(0)
    assert [len(proposed(lookup)) for _ in range(2)] == [0, 1]


def test_room_and_ends() -> None:
    assert PromptLookup(6, 2, []).propose(TEXT, 2).tolist() == [3, 4]
    assert PromptLookup(6, 2, []).propose(TEXT, 0).tolist() == []
    assert PromptLookup(6, 2, [5]).propose(TEXT, 9).tolist() == [3, 4]
    assert PromptLookup(6, 2, []).propose(TEXT[:1], 9).tolist() == []
