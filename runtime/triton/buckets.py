"""Which texts of a batch to pad together: a short text beside a long one costs as much as the long one."""

from __future__ import annotations

from collections.abc import Sequence

# A text is padded to at most so many times its length. Splitting a batch costs a further run of the model.
STRETCH = 2.0
# Added to every length, in characters: special tokens, and what a run costs however short its texts are.
SLACK = 16


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of `lengths` (characters), grouped so that none is much shorter than the longest of its group; the
    group with the longest comes first."""
    found: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if found and (lengths[index] + SLACK) * STRETCH >= lengths[found[-1][0]] + SLACK:
            found[-1].append(index)
        else:
            found.append([index])
    return [sorted(group) for group in found]
