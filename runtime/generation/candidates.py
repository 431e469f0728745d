"""The best scores of each row, found where the logits lie: enough for greedy search and for sampling after a top-k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from runtime.bundle import GraphSpec
from runtime.generation.device_memory import allocate
from runtime.generation.logits import ROUNDING, Scores, Tokens, below

IDS, SCORES, TOTAL = "candidate_ids", "candidate_logits", "log_sum_exp"


@dataclass(frozen=True)
class Candidates:
    """What one run gave for some rows. Valid until the next run.

    ids int64, scores float32 `[rows, K]`: the greatest logits, greatest first, the lower id first among equals.
    total float32 `[rows]`: log-sum-exp of all logits. everything: fetches the logits `[rows, vocab]` from where the
    graph's device keeps them.
    """

    ids: Tokens
    scores: Scores
    total: Scores
    everything: Callable[[], Scores]

    def __len__(self) -> int:
        return len(self.ids)

    def logits(self) -> Scores:
        """All logits, float32 `[rows, vocab]`."""
        return self.everything()

    def take(self, rows: Sequence[int]) -> Candidates:
        """Those of some rows, in this order."""
        chosen = list(rows)
        return Candidates(self.ids[chosen], self.scores[chosen], self.total[chosen], lambda: self.everything()[chosen])

    def decide(self, row: int, count: int) -> bool:
        """Whether the `count` greatest scores of a row, and all about equal to the least of them, are among these."""
        return count < self.scores.shape[1] and bool(self._bound(row, count) > self.scores[row, -1])

    def head(self, row: int, count: int) -> tuple[Tokens, Scores]:
        """Those scores: their tokens in ascending order, and themselves."""
        size = int((self.scores[row] >= self._bound(row, count)).sum())
        order = np.argsort(self.ids[row, :size])
        return self.ids[row, order], self.scores[row, order]

    def _bound(self, row: int, count: int) -> np.float32:
        return below(self.scores[row, count - 1], ROUNDING)


Step = Scores | Candidates  # what a run gives for some rows: logits `[rows, vocab]`, or the best of them


def take(step: Step, rows: Sequence[int]) -> Step:
    """Some rows of a step, in this order; one row of logits is not copied."""
    if isinstance(step, Candidates):
        return step.take(rows)
    return step[rows[0] : rows[0] + 1] if len(rows) == 1 else step[list(rows)]


def all_logits(step: Step) -> Scores:
    """All logits of a step."""
    return step.logits() if isinstance(step, Candidates) else step


class CandidateGraph:
    """The bundle's graph that picks them. count: how many, K. device: where it runs, in ONNX Runtime's words."""

    def __init__(self, session: ort.InferenceSession, graph: GraphSpec) -> None:
        self.session = session
        self.count = next(int(spec.shape[-1]) for spec in graph.outputs if spec.name == IDS)
        self.device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"


class DeviceLogits:
    """Logits `[rows, vocab]` where the candidates' graph reads them; all runs write into the same memory."""

    def __init__(self, graph: CandidateGraph, vocab_size: int) -> None:
        self.graph = graph
        self.vocab_size = vocab_size
        self.value = allocate(graph.device, (0, vocab_size))
        self._bindings: dict[int, CandidateBinding] = {}

    @property
    def rows(self) -> int:
        """How many there is room for."""
        return int(self.value.shape()[0])

    def ensure(self, rows: int) -> bool:
        """Make room; says whether the memory has moved."""
        if rows <= self.rows:
            return False
        self._bindings.clear()
        self.value = allocate(self.graph.device, (rows, self.vocab_size))
        return True

    def address(self, row: int = 0) -> int:
        """Where a row begins."""
        return int(self.value.data_ptr()) + 4 * row * self.vocab_size

    def bind(self, binding: Any, row: int, shape: tuple[int, int, int]) -> None:
        """Have a run write its logits `[batch, positions, vocab]` from a row on."""
        binding.bind_output("logits", self.graph.device, 0, np.float32, shape, self.address(row))

    def step(self, rows: int) -> Candidates:
        """The candidates of the first rows, which a run has written."""
        if rows not in self._bindings:
            self._bindings[rows] = CandidateBinding(self, rows)
        return self._bindings[rows].run()

    def fetch(self, rows: int) -> Scores:
        """A copy of the first rows in the host's memory."""
        fetched: Scores = self.value.numpy()[:rows]
        return fetched


class CandidateBinding:
    """Everything bound once for `rows` rows."""

    def __init__(self, logits: DeviceLogits, rows: int) -> None:
        graph = logits.graph
        self.session = graph.session
        self.logits = logits
        self.ids = np.empty((rows, 1, graph.count), np.int64)
        self.scores = np.empty((rows, 1, graph.count), np.float32)
        self.total = np.empty((rows, 1), np.float32)
        self.binding = graph.session.io_binding()
        shape = (rows, 1, logits.vocab_size)
        self.binding.bind_input("logits", graph.device, 0, np.float32, shape, logits.address())
        for name, array in ((IDS, self.ids), (SCORES, self.scores), (TOTAL, self.total)):
            self.binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def run(self) -> Candidates:
        """Pick from what the step has written."""
        self.session.run_with_iobinding(self.binding)
        rows = len(self.ids)
        return Candidates(self.ids[:, 0], self.scores[:, 0], self.total[:, 0], lambda: self.logits.fetch(rows))
