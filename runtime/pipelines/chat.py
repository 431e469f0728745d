"""Chats among the inputs: HF's `is_valid_message`, `Chat` (transformers 5.23 `utils/chat_template_utils.py`) and the
search for them in `Pipeline.__call__` (`pipelines/base.py`)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from runtime.errors import InputError


@dataclass(frozen=True)
class Chat:
    """One conversation: a list of messages, each with a role and a content. Raises `InputError` for anything else."""

    messages: list[dict[str, Any]]

    def __post_init__(self) -> None:
        for message in self.messages:
            if not is_message(message):
                raise InputError(f"a chat's messages are dicts with 'role' and 'content', not {str(message)[:60]!r}")


def is_message(value: Any) -> bool:
    """A dict with "role" and "content"."""
    return isinstance(value, dict) and "role" in value and "content" in value


def is_chat(value: Any) -> bool:
    """A list (or tuple) that starts with a message."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and is_message(value[0])


def as_chat(value: Any) -> Any:
    """`Chat` for a list of messages, anything else as it is."""
    return Chat(list(value)) if is_chat(value) else value


def find_chats(inputs: Any) -> Any:
    """The inputs of a call with chats recognised: one chat, a list (or tuple) of them; anything else as it is.

    A generator of messages is one chat too; its first item is looked at, and put back.
    """
    if isinstance(inputs, Generator):
        first = next(inputs, None)
        if first is None:
            return []
        inputs = [first, *inputs] if is_message(first) else chain([first], inputs)
    if isinstance(inputs, (list, tuple)) and inputs and all(is_chat(item) for item in inputs):
        return [as_chat(item) for item in inputs]
    return as_chat(inputs)
