"""Truncation without touching the shared `tokenizers.Tokenizer`, whose own truncation is state of the object."""

from __future__ import annotations

from dataclasses import dataclass

import tokenizers

from runtime.errors import InputError


@dataclass(frozen=True)
class Truncation:
    """How to shorten. `room` is the number of tokens left for text, special tokens already taken off."""

    room: int
    strategy: str
    stride: int
    side: str


def truncate(first: tokenizers.Encoding, second: tokenizers.Encoding | None, how: Truncation) -> None:
    """Shorten the two encodings in place to `how.room` tokens together; what is cut goes to their `overflowing`.

    The lengths are those of `truncate_encodings` in the tokenizers library (src/utils/truncation.rs). Raises
    `InputError` where it fails (texts too short for only_first/only_second) or panics (stride not below the part).
    """
    lengths = (len(first), len(second) if second is not None else 0)
    if sum(lengths) <= how.room:
        return
    kept = _kept(lengths, second is not None, how)
    for encoding, before, after in zip((first, second), lengths, kept, strict=True):
        if encoding is None or after >= before:
            continue
        if 0 < after <= how.stride:
            raise InputError(f"stride {how.stride} must be smaller than the {after} tokens that truncation leaves")
        encoding.truncate(after, how.stride, how.side)


def _kept(lengths: tuple[int, int], is_pair: bool, how: Truncation) -> tuple[int, int]:
    if how.room == 0:
        return 0, 0
    if how.strategy == "longest_first":
        return _longest_first(lengths, how.room) if is_pair else (how.room, 0)
    if how.strategy == "only_second" and not is_pair:
        raise InputError("truncation='only_second' needs a text_pair")
    return _only(lengths, how)


def _longest_first(lengths: tuple[int, int], room: int) -> tuple[int, int]:
    shorter = min(lengths)
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room // 2 + room % 2
    return (shorter, longer) if lengths[0] <= lengths[1] else (longer, shorter)


def _only(lengths: tuple[int, int], how: Truncation) -> tuple[int, int]:
    target = 0 if how.strategy == "only_first" else 1
    excess = sum(lengths) - how.room
    if lengths[target] <= excess:
        raise InputError(
            f"truncation={how.strategy!r}: that text has {lengths[target]} tokens, too short to take away {excess}"
        )
    return (lengths[0] - excess, lengths[1]) if target == 0 else (lengths[0], lengths[1] - excess)
