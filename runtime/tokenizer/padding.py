"""Padding: of the encodings of one call, and of inputs that were tokenised one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from runtime.errors import InputError


@dataclass(frozen=True)
class Padding:
    """What to pad with, and on which side."""

    side: str
    pad_id: int
    pad_token: str
    pad_type_id: int


def pad_encodings(
    encodings: Sequence[tokenizers.Encoding], length: int | None, multiple: int | None, how: Padding
) -> None:
    """Pad in place (overflowing pieces as well) to `length`, or the longest when None, rounded up to `multiple`.

    As `pad_encodings` in the tokenizers library (src/utils/padding.rs): longer rows stay as they are.
    """
    target = length if length is not None else max((len(e) for e in encodings), default=0)
    if multiple:
        target += -target % multiple
    for encoding in encodings:
        encoding.pad(
            target, direction=how.side, pad_id=how.pad_id, pad_type_id=how.pad_type_id, pad_token=how.pad_token
        )


def pad_rows(
    rows: Sequence[Mapping[str, Any]], side: str, pad_id: int | None, pad_type_id: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Stack single inputs into int64 arrays `[batch, longest]` (`[batch, longest, k]` for pairs like offsets).

    As HF's `pad_collate_fn` (transformers/pipelines/base.py): `special_tokens_mask` and `p_mask` are filled with 1,
    everything else but ids and types with 0. Raises `InputError` when rows have different keys, or ids have to be
    padded and there is no pad token.
    """
    if not rows:
        raise InputError("nothing to pad: the batch is empty")
    if any(row.keys() != rows[0].keys() for row in rows):
        raise InputError("the rows of a batch must have the same keys")
    fills = {"input_ids": pad_id, "token_type_ids": pad_type_id, "special_tokens_mask": 1, "p_mask": 1}
    return {key: _stack([np.asarray(row[key], np.int64) for row in rows], side, fills.get(key, 0)) for key in rows[0]}


def _stack(values: list[npt.NDArray[np.int64]], side: str, fill: int | None) -> npt.NDArray[np.int64]:
    longest = max(len(value) for value in values)
    if fill is None and any(len(value) < longest for value in values):
        raise InputError("texts of different lengths need padding, but this tokenizer has no pad token")
    tail = next((value.shape[1:] for value in values if len(value)), ())
    out = np.full((len(values), longest, *tail), fill or 0, np.int64)
    for row, value in zip(out, values, strict=True):
        start = longest - len(value) if side == "left" else 0
        if len(value):  # an empty list has lost its second dimension
            row[start : start + len(value)] = value
    return out
