"""Ending generation from outside: the calls of a pipeline made within a `Cancellation` end when it is told to."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType

from runtime.errors import CancelledError


class Cancellation:
    """Ends generation under way, whatever the task: beam search, sampling, several sequences, whole lists.

    >>> cancellation = Cancellation()
    >>> with cancellation:  # another thread may call cancellation.cancel()
    ...     pipe("Once upon a time", num_beams=4, max_new_tokens=500)

    The call raises `CancelledError` before its next step, and its slots are free for others. It holds for calls made
    by the thread or task that entered it (a generator's answers are made when they are read). Can be entered again.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self._entered: list[Token[Cancellation | None]] = []

    def cancel(self) -> None:
        """End what runs within it, from any thread; whatever begins later ends at once."""
        self.cancelled = True

    def __enter__(self) -> Cancellation:
        self._entered.append(_current.set(self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _current.reset(self._entered.pop())


def check_cancelled() -> None:
    """Raise `CancelledError` if the caller's `Cancellation` says so."""
    current = _current.get()
    if current is not None and current.cancelled:
        raise CancelledError("the call was cancelled")


_current: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)
