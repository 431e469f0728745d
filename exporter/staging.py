"""The staging directories of one command: opened while bundles are written, closed one by one as they are finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from exporter.options import ExportOptions
from exporter.output import staged_output


class Stagings:
    """Bundles under way, by name. On leaving, nothing is left of those that are still open."""

    def __init__(self, options: ExportOptions) -> None:
        self.options = options
        self.opened: dict[str, AbstractContextManager[Path]] = {}

    def __enter__(self) -> Stagings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as left:
            for context in self.opened.values():
                left.push(context)
            self.opened.clear()
            if error is not None:
                raise error

    def open(self, name: str, bytes_needed: int) -> Path:
        """See `staged_output`, which it raises the errors of."""
        options = self.options
        context = staged_output(options.output, name, options.version, options.force, bytes_needed)
        path = context.__enter__()
        self.opened[name] = context
        return path

    @contextmanager
    def closing(self, name: str) -> Iterator[None]:
        """What happens inside decides: it becomes the bundle, or after an exception nothing is left of it."""
        with ExitStack() as stack:
            if name in self.opened:  # not where there was no room for it
                stack.push(self.opened.pop(name))
            yield
