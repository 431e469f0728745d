"""Signals around work that must not be left half done. Outside of the main thread, where Python allows no handlers,
both do nothing: signals reach the main thread only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

TERMINATING = (signal.SIGTERM, signal.SIGHUP)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # the shell's convention for a process that a signal ended


@contextmanager
def raising_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `SystemExit(128 + number)`, as Ctrl-C raises, so that `finally` and `except` run."""
    # A handler that somebody set is kept: it was chosen on purpose, for instance SIG_IGN under nohup.
    ours = [number for number in TERMINATING if signal.getsignal(number) is signal.SIG_DFL]
    with _handlers(ours, _terminate):
        yield


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back Ctrl-C, SIGTERM and SIGHUP until the block is done, then deliver them."""
    arrived: list[int] = []
    caught = [n for n in (signal.SIGINT, *TERMINATING) if callable(signal.getsignal(n))]
    with _handlers(caught, lambda number, frame: arrived.append(number)):
        yield
    for number in dict.fromkeys(arrived):
        signal.raise_signal(number)


@contextmanager
def _handlers(numbers: list[signal.Signals], handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
