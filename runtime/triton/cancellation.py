"""Notices clients that are gone, also while their request waits for a slot or for its first token."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from runtime.generation.cancellation import Cancellation

_INTERVAL = 0.02  # seconds; a question to the server takes some 50 µs


class Watched:
    """A response sender, or a request, that may still be asked whether its client is there; `release` before its final
    response."""

    def __init__(self, sender: Any, on_cancel: Callable[[], None]) -> None:
        self._sender = sender
        self._on_cancel = on_cancel
        self._lock = threading.Lock()
        self._done = False

    def check(self) -> None:
        """Call `on_cancel` once if the client is gone."""
        # Under the lock, so that `release` cannot return while the question is on its way.
        with self._lock:
            if not self._done and self._sender.is_cancelled():
                self._done = True
                self._on_cancel()

    def release(self) -> None:
        """Ask no more: after the final response the server forgets the request that `is_cancelled` is about."""
        with self._lock:
            self._done = True


class CancellationWatch:
    """One thread that asks for all running requests; it sleeps while there are none."""

    def __init__(self) -> None:
        self._watched: dict[Watched, None] = {}  # in order of arrival
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="cancellation-watch", daemon=True)
        self._thread.start()

    def add(self, sender: Any, on_cancel: Callable[[], None]) -> Watched:
        """Watch a sender until `remove`."""
        watched = Watched(sender, on_cancel)
        with self._changed:
            self._watched[watched] = None
            self._changed.notify()
        return watched

    def remove(self, watched: Watched) -> None:
        """Stop watching; once this returns the sender is not asked again."""
        with self._changed:
            self._watched.pop(watched, None)
        watched.release()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._watched or self._closed)
                if self._closed:
                    return
                # The newest first: those that still wait for a slot go before the slots of others become free.
                current = list(reversed(self._watched))
            for watched in current:
                watched.check()
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=_INTERVAL)


@contextmanager
def while_wanted(watch: CancellationWatch, requests: list[Any]) -> Iterator[None]:
    """Generation inside ends with `CancelledError` once the clients of all requests are gone."""
    cancellation, gone = Cancellation(), list[None]()

    def one_is_gone() -> None:
        gone.append(None)
        if len(gone) == len(requests):
            cancellation.cancel()

    watched = [watch.add(request, one_is_gone) for request in requests]
    try:
        with cancellation:
            yield
    finally:
        for one in watched:
            watch.remove(one)
