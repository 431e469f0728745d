"""How one weight of a 4-bit graph is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Storage:
    """`bits`, in blocks of `size` (8 bit: as its recipe says); `reason`, where that is more than the others have."""

    bits: int
    size: int
    reason: str = ""
