"""Chats among the inputs: HF's `is_valid_message` and `Chat` (transformers 5.23 `pipelines/base.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Chat:
    """One conversation: a list of messages, each with a role and a content."""

    messages: list[dict[str, Any]]


def is_message(value: Any) -> bool:
    """A dict with "role" and "content"."""
    return isinstance(value, dict) and "role" in value and "content" in value


def is_chat(value: Any) -> bool:
    """A list (or tuple) that starts with a message."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and is_message(value[0])


def as_chat(value: Any) -> Any:
    """`Chat` for a list of messages, anything else as it is."""
    return Chat(list(value)) if is_chat(value) else value
