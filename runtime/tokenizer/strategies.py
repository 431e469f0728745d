"""Which truncation and padding a call asks for: HF's rules for `padding`, `truncation` and `max_length` together."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.bundle.manifest import TokenizerSpec
from runtime.errors import InputError

TRUNCATIONS = ("longest_first", "only_first", "only_second")
PADDINGS = ("longest", "max_length")
SIDES = ("right", "left")


@dataclass(frozen=True)
class LengthPlan:
    """The resolved strategies. `max_length` is None only where neither of them needs it."""

    truncation: str | None
    padding: str | None
    max_length: int | None


def resolve_lengths(
    spec: TokenizerSpec,
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    pad_to_multiple_of: int | None,
) -> LengthPlan:
    """HF's `PreTrainedTokenizerBase._get_padding_truncation_strategies`.

    `max_length` alone truncates longest_first; without it the model's limit counts, and without that one neither
    truncation nor padding to max_length does anything. Raises `InputError` for unknown names, for padding without a
    pad token, and for a truncation length that is not a multiple of `pad_to_multiple_of`.
    """
    if max_length is not None and padding is False and truncation is None:
        truncation = "longest_first"
    plan = LengthPlan(_truncation(truncation), _padding(padding), max_length)
    if max_length is None:
        plan = _with_model_limit(plan, spec.model_max_length)
    _check(plan, spec, pad_to_multiple_of)
    return plan


def check_side(name: str, side: str) -> str:
    """`side` itself when it is "right" or "left", else `InputError`."""
    if side not in SIDES:
        raise InputError(f"{name} must be 'right' or 'left', not {side!r}")
    return side


def _truncation(truncation: bool | str | None) -> str | None:
    if truncation is None or truncation is False or truncation == "do_not_truncate":
        return None
    strategy = "longest_first" if truncation is True else str(truncation)
    if strategy not in TRUNCATIONS:
        raise InputError(f"truncation must be one of True, False, {', '.join(TRUNCATIONS)}, not {truncation!r}")
    return strategy


def _padding(padding: bool | str) -> str | None:
    if padding is False or padding == "do_not_pad":
        return None
    strategy = "longest" if padding is True else str(padding)
    if strategy not in PADDINGS:
        raise InputError(f"padding must be one of True, False, {', '.join(PADDINGS)}, not {padding!r}")
    return strategy


def _with_model_limit(plan: LengthPlan, limit: int | None) -> LengthPlan:
    if limit is not None:
        return LengthPlan(plan.truncation, plan.padding, limit)
    return LengthPlan(None, None if plan.padding == "max_length" else plan.padding, None)


def _check(plan: LengthPlan, spec: TokenizerSpec, multiple: int | None) -> None:
    if plan.padding and spec.pad_token_id is None:
        raise InputError("padding was asked for, but this tokenizer has no pad token: tokenize the texts one by one")
    if plan.truncation and plan.padding and multiple and plan.max_length and plan.max_length % multiple:
        raise InputError(f"max_length {plan.max_length} is not a multiple of pad_to_multiple_of {multiple}")
