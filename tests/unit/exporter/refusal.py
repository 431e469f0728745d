"""Errors for users are one line that says what to do; every test of a refusal checks that too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runtime.errors import ExportError, OnwardError


@contextmanager
def refused(*words: str, kind: type[OnwardError] = ExportError) -> Iterator[None]:
    """The block raises `kind` with one line that holds all `words`."""
    with pytest.raises(kind) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) > 20
    for word in words:
        assert word in message, message
