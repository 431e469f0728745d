"""What a decode step runs with: inputs and outputs bound once, and the numbers that change written in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from runtime.generation.candidates import CandidateBinding

if TYPE_CHECKING:
    from runtime.generation.slots import SlotRunner


class Cells(NamedTuple):
    """Lengths `[slots]` and tokens `[slots, max_length]` of a runner, to be read and written number by number.

    Behind a run all caches are cold: what a step costs is how much code and memory it touches, and numpy's indexing
    touches many times what a memoryview does.
    """

    lengths: memoryview
    tokens: memoryview

    @classmethod
    def of(cls, lengths: np.ndarray, tokens: np.ndarray) -> Cells:
        """Of these arrays; they share their memory."""
        return cls(memoryview(lengths), memoryview(tokens))  # type: ignore[arg-type]

    def take(self, row: int, token: int) -> int:
        """A slot takes one token more; returns how many it held before."""
        length: int = self.lengths[row]
        self.tokens[row, length] = token
        self.lengths[row] = length + 1
        return length


class DecodeBinding:
    """Everything bound once for `rows` rows; a step only writes new numbers into the same memory.

    best: whether the candidates are picked instead of fetching the logits `[rows, 1, vocab]`. rows: those logits as
    `[rows, vocab]`.
    """

    def __init__(self, runner: SlotRunner, rows: int, best: bool = False) -> None:
        self.session = runner.session
        self.cells = runner.cells
        self.input_ids = np.zeros((rows, 1), np.int64)
        self.position_ids = np.zeros((rows, 1), np.int64)
        self.logits_positions = np.zeros((rows, 1), np.int64)
        self.seqlens_k = np.zeros(rows, np.int32)
        self.total_sequence_length = np.zeros((), np.int32)
        written = (self.input_ids, self.position_ids, self.seqlens_k, self.total_sequence_length)
        self.numbers = [memoryview(array.reshape(-1)) for array in written]  # type: ignore[arg-type]
        self.binding = runner.session.io_binding()
        for name in ("input_ids", "position_ids", "logits_positions", "seqlens_k", "total_sequence_length"):
            if name in runner._inputs:
                bind_array(self.binding.bind_input, name, getattr(self, name))
        runner._bind_cache(self.binding, 0, rows)
        self.logits = np.empty((0 if best else rows, 1, runner.vocab_size), np.float32)
        self.rows = self.logits[:, 0]
        self.best: CandidateBinding | None = None
        if best:
            assert runner.best is not None
            self.best = CandidateBinding(runner.best, rows, runner.vocab_size)
            self.binding.bind_ortvalue_output("logits", self.best.logits)
        else:
            bind_array(self.binding.bind_output, "logits", self.logits)

    def run(self, tokens: Sequence[int] | np.ndarray) -> None:
        """One token `[rows]` for each row; the outputs are in the memory that was bound."""
        ids, positions, seqlens, total = self.numbers
        longest = 0
        for row, token in enumerate(tokens):
            length = self.cells.take(row, token)
            ids[row], positions[row], seqlens[row] = token, length, length
            longest = max(longest, length)
        total[0] = longest + 1
        try:
            self.session.run_with_iobinding(self.binding)
        except BaseException:
            for row in range(len(tokens)):
                self.cells.lengths[row] -= 1
            raise


def bind_array(bind: Any, name: str, array: np.ndarray) -> None:
    """Bind a contiguous array by its address: no copy, and ONNX Runtime writes into it."""
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
