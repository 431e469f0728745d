"""The stages of an export with their times, shown live where somebody watches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Watcher(Protocol):
    """Whoever shows the stages: told when one begins and how long it took."""

    def begin(self, name: str) -> None: ...
    def end(self, name: str, seconds: float) -> None: ...


class Stages:
    """Times named stages; `seconds` keeps them in order."""

    def __init__(self, watcher: Watcher | None = None, prefix: str = "") -> None:
        self.watcher = watcher
        self.prefix = prefix
        self.seconds: dict[str, float] = {}

    def under(self, prefix: str) -> Stages:
        """Stages of one part of the work: with the seconds so far, shown with `prefix` in front of their names."""
        part = Stages(self.watcher, prefix)
        part.seconds.update(self.seconds)
        return part

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what happens inside, under `name`."""
        started = time.perf_counter()
        if self.watcher is not None:
            self.watcher.begin(self.prefix + name)
        yield
        self.seconds[name] = time.perf_counter() - started
        if self.watcher is not None:
            self.watcher.end(self.prefix + name, self.seconds[name])
