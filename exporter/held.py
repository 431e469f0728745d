"""The checkpoint and its graphs, shared by the precisions that are traced in one dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from exporter.loading import Checkpoint
from exporter.memory import release

if TYPE_CHECKING:
    from exporter.tracing.causal_lm import Traced


class Held:
    """The checkpoint and its graphs in one dtype, for as long as somebody needs them: memory holds one at a time."""

    def __init__(self, load: Callable[[str], Checkpoint]) -> None:
        self.load = load
        self.dtype = ""
        self.kept: Checkpoint | None = None
        self.traced: Traced | None = None

    def checkpoint(self, dtype: str) -> Checkpoint:
        """Loaded, unless it is there already."""
        if self.kept is None or self.dtype != dtype:
            self.drop()
            self.kept, self.dtype = self.load(dtype), dtype
        return self.kept

    def graphs(self, trace: Callable[[Checkpoint], Traced], last: bool) -> Traced:
        """Traced once; handed out for rewriting, so in copies (of the nodes, not of the weights) until the `last`."""
        assert self.kept is not None
        if self.traced is None:
            self.traced = trace(self.kept)
        if last:
            return self.traced
        copies = {name: graph.clone() for name, graph in self.traced.graphs.items()}
        return replace(self.traced, graphs=copies)

    def drop(self) -> None:
        """Let the memory go."""
        self.kept = self.traced = None
        release()
