"""What a decode step runs with: inputs and outputs bound once, and the numbers that change written in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from runtime.generation.candidates import Step
from runtime.generation.host_memory import bind_array

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


class Logits(Protocol):
    """Where runs write logits `[rows, vocab]`, and what of them is told: all, or the best of each row."""

    def bind(self, binding: Any, row: int, shape: tuple[int, int, int]) -> None:
        """Have a run write its `[batch, positions, vocab]` from a row on."""

    def step(self, rows: int) -> Step:
        """What the first rows say, valid until the next run."""


class HostLogits:
    """Logits in the host's memory, all of which are told."""

    def __init__(self, rows: int, vocab_size: int) -> None:
        self.array = np.empty((rows, vocab_size), np.float32)

    def bind(self, binding: Any, row: int, shape: tuple[int, int, int]) -> None:
        """See `Logits`."""
        bind_array(binding.bind_output, "logits", self.array[row : row + shape[0] * shape[1]].reshape(shape))

    def step(self, rows: int) -> Step:
        """See `Logits`."""
        return self.array if rows == len(self.array) else self.array[:rows]


class DecodeBinding:
    """Everything bound once for `rows` rows; a step only writes new numbers into the same memory.

    best: whether the candidates are picked instead of fetching the logits. On a device the numbers are copied when they
    are bound, so there they are bound again in every step.
    """

    def __init__(self, runner: SlotRunner, rows: int, best: bool = False) -> None:
        self.session = runner.session
        self.cells = runner.cells
        self.rows = rows
        self.input_ids = np.zeros((rows, 1), np.int64)
        self.position_ids = np.zeros((rows, 1), np.int64)
        self.logits_positions = np.zeros((rows, 1), np.int64)
        self.seqlens_k = np.zeros(rows, np.int32)
        self.total_sequence_length = np.zeros((), np.int32)
        written = (self.input_ids, self.position_ids, self.seqlens_k, self.total_sequence_length)
        self.numbers = [memoryview(array.reshape(-1)) for array in written]  # type: ignore[arg-type]
        names = ("input_ids", "position_ids", "logits_positions", "seqlens_k", "total_sequence_length")
        self.inputs = {name: getattr(self, name) for name in names if name in runner.inputs}
        self.inputs |= runner.host_inputs(0, rows)
        self.binding = runner.session.io_binding()
        self._bind_inputs()
        self.copies = runner.copies_inputs
        runner.bind_memory(self.binding, 0, rows)
        self.logits = runner.logits_for(rows, best)
        self.logits.bind(self.binding, 0, (rows, 1, runner.vocab_size))

    def run(self, tokens: Sequence[int] | np.ndarray) -> Step:
        """One token `[rows]` for each row."""
        ids, positions, seqlens, total = self.numbers
        lengths, taken = self.cells
        longest = 0
        for row, token in enumerate(tokens):
            length = lengths[row]
            taken[row, length], lengths[row] = token, length + 1
            ids[row], positions[row], seqlens[row] = token, length, length
            longest = max(longest, length)
        total[0] = longest + 1
        try:
            if self.copies:
                self._bind_inputs()
            self.session.run_with_iobinding(self.binding)
            return self.logits.step(self.rows)
        except BaseException:
            for row in range(len(tokens)):
                self.cells.lengths[row] -= 1
            raise

    def _bind_inputs(self) -> None:
        for name, array in self.inputs.items():
            bind_array(self.binding.bind_input, name, array)
