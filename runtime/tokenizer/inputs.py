"""Checks what the caller handed in and brings it into one form: a list of (first text, second text or None)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from runtime.errors import InputError

Text: TypeAlias = str | list[str]  # a list of words with is_split_into_words
Pair: TypeAlias = tuple[Text, Text | None]


@dataclass(frozen=True)
class TextBatch:
    """The texts of one call. `is_batched` is False when the caller gave a single text."""

    pairs: list[Pair]
    is_batched: bool


def as_batch(text: object, text_pair: object, is_split_into_words: bool) -> TextBatch:
    """HF's reading of `text` and `text_pair` (`TokenizersBackend._encode_plus`).

    A list is a batch; its items are texts or (first, second) pairs. An empty `text_pair` next to a single text counts
    as none. Raises `InputError` for anything that is not text, for lists of different lengths, and for lone
    surrogates, which have no UTF-8 form.
    """
    if not _is_batch(text, is_split_into_words):
        return TextBatch([(_text(text, is_split_into_words, 0), _second(text_pair, is_split_into_words))], False)
    assert isinstance(text, list | tuple)
    if text_pair is None:
        return TextBatch([_item(item, is_split_into_words, i) for i, item in enumerate(text)], True)
    if not isinstance(text_pair, list | tuple) or len(text_pair) != len(text):
        found = len(text_pair) if isinstance(text_pair, list | tuple) else type(text_pair).__name__
        raise InputError(f"text is a batch of {len(text)}, so text_pair must be a list of {len(text)}, not {found}")
    firsts = [_text(item, is_split_into_words, i) for i, item in enumerate(text)]
    seconds = [_text(item, is_split_into_words, i) for i, item in enumerate(text_pair)]
    return TextBatch(list(zip(firsts, seconds, strict=True)), True)


def _is_batch(text: object, is_split_into_words: bool) -> bool:
    if not isinstance(text, list | tuple):
        return False
    return not is_split_into_words or (len(text) > 0 and isinstance(text[0], list | tuple))


def _second(text_pair: object, is_split_into_words: bool) -> Text | None:
    return _text(text_pair, is_split_into_words, 0) if text_pair else None


def _item(item: object, is_split_into_words: bool, index: int) -> Pair:
    if isinstance(item, list | tuple) and len(item) == 2 and _holds_pair(item, is_split_into_words):
        return _text(item[0], is_split_into_words, index), _text(item[1], is_split_into_words, index)
    return _text(item, is_split_into_words, index), None


def _holds_pair(item: Sequence[object], is_split_into_words: bool) -> bool:
    return isinstance(item[0], list | tuple) if is_split_into_words else True


def _text(value: object, is_split_into_words: bool, index: int) -> Text:
    if not is_split_into_words:
        return _string(value, index)
    if not isinstance(value, list | tuple):
        raise InputError(f"with is_split_into_words, text {index} must be a list of words, not {_kind(value)}")
    return [_string(word, index) for word in value]


def _string(value: object, index: int) -> str:
    if not isinstance(value, str):
        raise InputError(f"text {index} must be a str (or a pair of str), not {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"text {index} has a lone surrogate (U+{ord(value[error.start]):04X}) at index {error.start}, "
            "which is not valid Unicode: remove it or replace it with U+FFFD"
        ) from None
    return value


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
