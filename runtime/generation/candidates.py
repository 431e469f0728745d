"""The best scores of each row, found where the logits lie: enough for greedy search and for sampling after a top-k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from runtime.bundle import GraphSpec
from runtime.generation.logits import ROUNDING, Scores, Tokens, below

IDS, SCORES, TOTAL = "candidate_ids", "candidate_logits", "log_sum_exp"


@dataclass(frozen=True)
class Candidates:
    """What one step gave for some rows. Valid until the next run.

    ids int64, scores float32 `[rows, K]`: the greatest logits, greatest first, the lower id first among equals.
    total float32 `[rows]`: log-sum-exp of all logits. everything: the logits `[rows, 1, vocab]`, where the graph's
    device keeps them; they are fetched when somebody asks.
    """

    ids: Tokens
    scores: Scores
    total: Scores
    everything: ort.OrtValue

    def logits(self) -> Scores:
        """All logits of the step, float32 `[rows, vocab]`."""
        fetched: Scores = self.everything.numpy()[:, 0]
        return fetched

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


class CandidateGraph:
    """The bundle's graph that picks them. count: how many, K. device: where it runs, in ONNX Runtime's words."""

    def __init__(self, session: ort.InferenceSession, graph: GraphSpec) -> None:
        self.session = session
        self.count = next(int(spec.shape[-1]) for spec in graph.outputs if spec.name == IDS)
        self.device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"


class CandidateBinding:
    """Everything bound once for `rows` rows: `logits` is what a step writes into, on its device."""

    def __init__(self, graph: CandidateGraph, rows: int, vocab_size: int) -> None:
        self.session = graph.session
        self.logits = ort.OrtValue.ortvalue_from_shape_and_type((rows, 1, vocab_size), np.float32, graph.device, 0)
        self.ids = np.empty((rows, 1, graph.count), np.int64)
        self.scores = np.empty((rows, 1, graph.count), np.float32)
        self.total = np.empty((rows, 1), np.float32)
        self.binding = graph.session.io_binding()
        self.binding.bind_ortvalue_input("logits", self.logits)
        for name, array in ((IDS, self.ids), (SCORES, self.scores), (TOTAL, self.total)):
            self.binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def run(self) -> Candidates:
        """Pick from what the step has written."""
        self.session.run_with_iobinding(self.binding)
        return Candidates(self.ids[:, 0], self.scores[:, 0], self.total[:, 0], self.logits)
