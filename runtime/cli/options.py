"""Groups of options that several commands share, added to a command as one decorator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])


def add_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Add click options to a command, listed in its help in the order given."""
    for option in reversed(options):
        command = option(command)
    return command
