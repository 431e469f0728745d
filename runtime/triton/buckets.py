"""Which texts of a batch to pad together: a short text beside a long one costs as much as two long ones."""

from __future__ import annotations

from collections.abc import Sequence

# A batch is split where padding would be more than this share of it. Splitting costs a second run of the model.
WASTE = 0.5


def buckets(lengths: Sequence[int], waste: float = WASTE) -> list[list[int]]:
    """Indices of `lengths`, grouped so that no group has more than `waste` of padding; the longest come first."""
    found: list[list[int]] = []
    total = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        group = found[-1] if found else []
        longest = max(lengths[group[0]], 1) if group else 0
        if group and total + lengths[index] >= (1 - waste) * longest * (len(group) + 1):
            group.append(index)
            total += lengths[index]
        else:
            found.append([index])
            total = lengths[index]
    return [sorted(group) for group in found]
