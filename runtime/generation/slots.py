"""Slot memory and the runner that reads and writes it in place.

A slot is one row of every layer's key/value buffer `[slots, kv_heads, max_length, head_dim]`. ONNX Runtime's
GroupQueryAttention takes each row's own length (`seqlens_k`), ignores what lies beyond it, and writes new keys and
values where past and present share memory. So rows of different lengths decode together, and a prompt is prefilled
straight into its slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from runtime.bundle import CacheSpec, GraphSpec
from runtime.errors import CapacityError
from runtime.generation.candidates import CandidateBinding, CandidateGraph, Candidates
from runtime.generation.prefix import common
from runtime.generation.statistics import Memory

PREFILL_CHUNK = 512


class Move(NamedTuple):
    """Positions [start, end) of one slot that another one is to hold."""

    source: int
    target: int
    start: int
    end: int


class SlotCache:
    """The key/value memory, in the CPU's memory: as many slots and positions as were needed so far, up to the limits.

    It grows instead of starting at its limits because the operator's scratch memory is as long as the buffer: measured
    on GPT-2, a 256-token prefill takes 520 MB more in a buffer of 32,768 positions than in one of 512.
    """

    def __init__(self, spec: CacheSpec, slots: int, max_length: int) -> None:
        self.max_slots = slots
        self.max_length = max_length
        self.dtype = np.dtype(spec.dtype)
        self.layers = spec.layers
        self.slots = 0
        self.length = 0
        self.buffers: dict[str, np.ndarray] = {}

    @property
    def nbytes_limit(self) -> int:
        """Bytes that the memory can grow to: every slot at its longest."""
        per_token = sum(2 * kv_heads * head_dim for kv_heads, head_dim in self.layers) * self.dtype.itemsize
        return self.max_slots * self.max_length * per_token

    def ensure(self, slots: int, length: int) -> bool:
        """Grow to at least `slots` rows of `length` positions, keeping what is there; says whether buffers moved."""
        if slots <= self.slots and length <= self.length:
            return False
        if slots > self.max_slots or length > self.max_length:
            raise CapacityError(
                f"{slots} slots of {length} tokens were asked for, the limit is {self.max_slots} of {self.max_length}"
            )
        self._grow(
            _next_size(self.slots, slots, 1, self.max_slots), _next_size(self.length, length, 256, self.max_length)
        )
        return True

    def _grow(self, slots: int, length: int) -> None:
        # All or nothing, so that a refusal leaves running rows as they are. Pages take memory when they are written,
        # and each old buffer goes as soon as it is copied: the peak is one layer above the new size.
        grown = {
            f"past_key_values.{layer}.{part}": reserve((slots, kv_heads, length, head_dim), self.dtype)
            for layer, (kv_heads, head_dim) in enumerate(self.layers)
            for part in ("key", "value")
        }
        for name in list(self.buffers):
            grown[name][: self.slots, :, : self.length] = self.buffers.pop(name)
        self.buffers = grown
        self.slots, self.length = slots, length

    def copy(self, source: int, target: int, length: int, start: int = 0) -> None:
        """Copy the positions from `start` to `length` of a slot to another one."""
        for buffer in self.buffers.values():
            buffer[target, :, start:length] = buffer[source, :, start:length]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` positions of two slots."""
        for buffer in self.buffers.values():
            kept = buffer[one, :, :length].copy()
            buffer[one, :, :length] = buffer[other, :, :length]
            buffer[other, :, :length] = kept

    def move(self, moves: Sequence[Move]) -> None:
        """Copy between slots, all at once: no move sees what another one wrote."""
        for buffer in self.buffers.values():
            parts = [buffer[move.source, :, move.start : move.end].copy() for move in moves]
            for part, move in zip(parts, moves, strict=True):
                buffer[move.target, :, move.start : move.end] = part

    @property
    def nbytes(self) -> int:
        """Bytes of the memory as it is now."""
        return sum(buffer.nbytes for buffer in self.buffers.values())


def _next_size(current: int, wanted: int, step: int, limit: int) -> int:
    """Round up to `step`, and at least double, so that growing one by one stays cheap."""
    if wanted <= current:
        return current
    return min(limit, max(-(-wanted // step) * step, 2 * current))


def reserve(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Uninitialised memory; a size that the machine refuses is a `CapacityError`, not a crash."""
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        size = np.prod(shape) * dtype.itemsize / 2**30
        raise CapacityError(
            f"no memory for {size:.1f} GiB of keys and values: fewer slots or a shorter max_length"
        ) from error


class SlotRunner:
    """Runs the one decoder graph over slot memory. Not thread-safe: the engine owns it.

    lengths[i] is how many tokens slot i holds, tokens[i] which ones; both stay when nobody uses the slot any more.
    best: the graph that picks candidates from the logits, None where there is none. candidates: how many it gives.
    """

    rewinds = True  # a row can be cut at any length, and go on from there
    lockstep = False  # rows of one step may have different lengths

    def __init__(
        self,
        session: ort.InferenceSession,
        graph: GraphSpec,
        spec: CacheSpec,
        slots: int,
        max_length: int,
        best: CandidateGraph | None = None,
    ) -> None:
        self.session = session
        self.graph = graph
        self.cache = SlotCache(spec, slots, max_length)
        self.max_length = max_length
        self.slots = slots
        self.lengths = np.zeros(slots, np.int32)
        self.tokens = np.zeros((slots, max_length), np.int32)
        self.cells = Cells.of(self.lengths, self.tokens)
        self._inputs = {spec.name for spec in graph.inputs}
        self._decode_bindings: dict[tuple[int, bool], DecodeBinding] = {}
        self.best = best
        self.candidates = 0 if best is None else best.count
        # Where logits lie in this memory anyway, choosing from them here costs less than a graph's top-k: measured.
        self.prefers_candidates = best is not None and best.device != "cpu"
        logits = next(spec for spec in graph.outputs if spec.name == "logits")
        self.vocab_size = int(logits.shape[-1])

    def reserve(self, slots: int, length: int) -> None:
        """Make room for `slots` rows of `length` tokens. Raises `CapacityError` beyond the limits."""
        if self.cache.ensure(slots, length):
            self._decode_bindings.clear()

    @property
    def allocated(self) -> int:
        """Slots that have memory by now."""
        return self.cache.slots

    def memory(self) -> Memory:
        """Bytes of keys and values, now and at most."""
        return Memory(self.slots, self.max_length, self.cache.nbytes, self.cache.nbytes_limit)

    def held(self, slot: int) -> np.ndarray:
        """The tokens whose keys and values are in a slot, int32 `[tokens]`, a view."""
        return self.tokens[slot, : self.lengths[slot]]

    def rewind(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of a slot."""
        self.lengths[slot] = length

    def prefill(self, slot: int, input_ids: np.ndarray, start: int = 0) -> np.ndarray:
        """Write a prompt `[tokens]` into `slot` from position `start` on, in chunks; returns logits `[vocab]`."""
        for begin in range(0, len(input_ids), PREFILL_CHUNK):
            chunk = input_ids[begin : begin + PREFILL_CHUNK]
            past = start + begin
            self.lengths[slot] = past  # what lies behind is overwritten, even by a run that fails
            logits = self._run(slot, slot + 1, chunk[None], np.array([past]), np.array([[len(chunk) - 1]]))
            self._hold(slot, past, chunk)
        last: np.ndarray = logits[0, 0]
        return last

    def prefill_together(self, first_slot: int, prompts: Sequence[np.ndarray]) -> np.ndarray:
        """Prefill neighbouring slots in one ragged, right-padded run; returns the last logits `[prompts, vocab]`."""
        lengths = np.array([len(prompt) for prompt in prompts])
        input_ids = np.zeros((len(prompts), lengths.max()), np.int64)
        for row, prompt in enumerate(prompts):
            input_ids[row, : len(prompt)] = prompt
        end = first_slot + len(prompts)
        self.lengths[first_slot:end] = 0
        logits = self._run(first_slot, end, input_ids, np.zeros(len(prompts), int), lengths[:, None] - 1, lengths)
        for row, prompt in enumerate(prompts):
            self._hold(first_slot + row, 0, prompt)
        last: np.ndarray = logits[:, 0]
        return last

    def score(self, input_ids: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
        """Logits `[positions, vocab]` of one text through slot 0: at every position, or at those given."""
        self.reserve(1, len(input_ids))
        wanted = np.arange(len(input_ids)) if positions is None else positions
        self.lengths[0] = 0
        logits: np.ndarray = self._run(0, 1, input_ids[None], np.array([0]), wanted[None])[0]
        self._hold(0, 0, input_ids)
        return logits

    def extend(self, slot: int, tokens: np.ndarray) -> np.ndarray:
        """Append tokens `[n]` to a slot in one run; returns the logits after each, `[n, vocab]`.

        One slot at a time: ONNX Runtime's operator takes several tokens behind a past for a batch of one alone.
        """
        past = int(self.lengths[slot])
        logits = self._run(slot, slot + 1, tokens[None], np.array([past]), np.arange(len(tokens))[None])
        self._hold(slot, past, tokens)
        rows: np.ndarray = logits[0]
        return rows

    def decode(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """One token `[rows]` for each of the first slots; returns logits `[rows, vocab]`, valid until the next run."""
        binding = self._decode_binding(len(tokens))
        binding.run(tokens)
        return binding.rows

    def decode_candidates(self, tokens: Sequence[int] | np.ndarray) -> Candidates | np.ndarray:
        """As `decode`, but only the best of the logits leave the graph's device; valid until the next run."""
        binding = self._decode_binding(len(tokens), best=True)
        binding.run(tokens)
        assert binding.best is not None
        return binding.best.run()

    def encode(self, slot: int, source: Mapping[str, np.ndarray]) -> None:
        """Decoder-only models have nothing to encode."""
        raise TypeError("a decoder-only model takes no source")

    def copy(self, source: int, target: int, length: int | None = None) -> None:
        """Slot `target` becomes what `source` is, or the first `length` tokens of it."""
        length = int(self.lengths[source]) if length is None else length
        self.cache.copy(source, target, length)
        self._hold(target, 0, self.tokens[source, :length])

    def swap(self, one: int, other: int) -> None:
        """Exchange two slots."""
        pair, exchanged = [one, other], [other, one]
        length = int(self.lengths[pair].max())
        self.cache.swap(one, other, length)
        self.tokens[pair, :length] = self.tokens[exchanged, :length]
        self.lengths[pair] = self.lengths[exchanged]

    def reorder(self, rows: Sequence[int]) -> None:
        """Slot i becomes what slot `rows[i]` was. Only what differs is copied: beams share all but their last tokens.

        Rows must read the same source where there is one.
        """
        sources = list(rows)
        moves = [self._move(source, target) for target, source in enumerate(sources) if target != source]
        if moves:
            self.cache.move(moves)
            length = int(self.lengths[sources].max())
            self.tokens[: len(sources), :length] = self.tokens[sources, :length]
            self.lengths[: len(sources)] = self.lengths[sources]

    def _move(self, source: int, target: int) -> Move:
        return Move(source, target, common(self.held(source), self.held(target)), int(self.lengths[source]))

    def _decode_binding(self, rows: int, best: bool = False) -> DecodeBinding:
        """What a step of `rows` rows runs with, made once."""
        if (rows, best) not in self._decode_bindings:
            self._decode_bindings[rows, best] = DecodeBinding(self, rows, best)
        return self._decode_bindings[rows, best]

    def _hold(self, slot: int, start: int, tokens: np.ndarray) -> None:
        """The slot now holds `tokens` from `start` on, and nothing behind them."""
        end = start + len(tokens)
        self.tokens[slot, start:end] = tokens
        self.lengths[slot] = end

    def _run(
        self,
        begin: int,
        end: int,
        input_ids: np.ndarray,
        past: np.ndarray,
        logits_positions: np.ndarray,
        lengths: np.ndarray | None = None,
    ) -> np.ndarray:
        """Run slots [begin, end). past `[rows]`: tokens already there; lengths `[rows]`: new ones, without padding."""
        tokens = input_ids.shape[1]
        new = np.full(end - begin, tokens) if lengths is None else lengths
        feeds = {
            "input_ids": np.ascontiguousarray(input_ids, np.int64),
            "position_ids": np.ascontiguousarray(past[:, None] + np.arange(tokens)[None], np.int64),
            "logits_positions": np.ascontiguousarray(logits_positions, np.int64),
            "seqlens_k": (past + new - 1).astype(np.int32),
            "total_sequence_length": np.array((past + new).max(), np.int32),
        }
        binding = self.session.io_binding()
        for name, array in feeds.items():
            if name in self._inputs:
                bind_array(binding.bind_input, name, array)
        self._bind_cache(binding, begin, end, int(feeds["total_sequence_length"]))
        shape = (end - begin, logits_positions.shape[1], self.vocab_size)
        logits = np.empty(shape, np.float32)
        bind_array(binding.bind_output, "logits", logits)
        self.session.run_with_iobinding(binding)
        return logits

    def _bind_cache(self, binding: Any, begin: int, end: int, total: int | None = None) -> None:
        for name, buffer in self.cache.buffers.items():
            view = buffer[begin:end]
            bind_array(binding.bind_input, name, view)
            bind_array(binding.bind_output, name.replace("past_key_values", "present"), view)


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
