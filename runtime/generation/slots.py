"""The runner that fills slots with prompts and advances them, reading and writing their memory in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from runtime.bundle import CacheSpec, GraphSpec
from runtime.generation.candidates import CandidateGraph, DeviceLogits, Step
from runtime.generation.decode_binding import Cells, DecodeBinding, HostLogits, Logits
from runtime.generation.host_memory import bind_array
from runtime.generation.prefix import common
from runtime.generation.slot_cache import SlotCache
from runtime.generation.slot_memory import Move
from runtime.generation.statistics import Memory

PREFILL_CHUNK = 512


class SlotRunner:
    """Runs the one decoder graph over slot memory. Not thread-safe: the engine owns it.

    lengths[i] is how many tokens slot i holds, tokens[i] which ones; both stay when nobody uses the slot any more.
    best: the graph that picks candidates from the logits, None where there is none. candidates: how many it gives.
    device: where keys and values lie, in ONNX Runtime's words; None for numpy arrays in the host's memory.
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
        device: str | None = None,
    ) -> None:
        self.session = session
        self.graph = graph
        self.device = device
        self.cache = SlotCache(spec, slots, max_length, device)
        self.max_length = max_length
        self.slots = slots
        self.lengths = np.zeros(slots, np.int32)
        self.tokens = np.zeros((slots, max_length), np.int32)
        self.cells = Cells.of(self.lengths, self.tokens)
        self.inputs = {spec.name for spec in graph.inputs}
        # A provider other than the CPU's copies what it reads when it is bound.
        self.copies_inputs = device is not None or session.get_providers()[0] != "CPUExecutionProvider"
        self._decode_bindings: dict[tuple[int, bool], DecodeBinding] = {}
        logits = next(spec for spec in graph.outputs if spec.name == "logits")
        self.vocab_size = int(logits.shape[-1])
        self.candidates = 0 if best is None else best.count
        self._best = None if best is None else DeviceLogits(best, self.vocab_size)
        # Where logits lie in this memory anyway, choosing from them here costs less than a graph's top-k: measured.
        self.prefers_candidates = best is not None and (device is not None or best.device != "cpu")

    def alone(self) -> SlotRunner:
        """Another one of a single slot on the same session, whose memory grows on its own."""
        return SlotRunner(self.session, self.graph, self.cache.spec, 1, self.max_length, device=self.device)

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

    def prefill(self, slot: int, input_ids: np.ndarray, start: int = 0, best: bool = False) -> Step:
        """Write a prompt `[tokens]` into `slot` from position `start` on, in chunks; returns its last logits, one row.

        best: whether only the best of the logits leave the graph's device, here and in all that follows.
        """
        logits = self.logits_for(1, best)
        self._read(slot, input_ids, start, logits, 0)
        return logits.step(1)

    def prefill_each(self, slots: Sequence[int], prompts: Sequence[np.ndarray], best: bool = False) -> Step:
        """Write prompts into slots, in one run each or several; returns the last logits, a row for each prompt."""
        logits = self.logits_for(len(prompts), best)
        for row, (slot, prompt) in enumerate(zip(slots, prompts, strict=True)):
            self._read(slot, prompt, 0, logits, row)
        return logits.step(len(prompts))

    def prefill_together(self, first_slot: int, prompts: Sequence[np.ndarray], best: bool = False) -> Step:
        """Prefill neighbouring slots in one ragged, right-padded run; returns the last logits, a row a prompt."""
        lengths = np.array([len(prompt) for prompt in prompts])
        input_ids = np.zeros((len(prompts), lengths.max()), np.int64)
        for row, prompt in enumerate(prompts):
            input_ids[row, : len(prompt)] = prompt
        end = first_slot + len(prompts)
        self.lengths[first_slot:end] = 0
        logits, past = self.logits_for(len(prompts), best), np.zeros(len(prompts), int)
        self._run(first_slot, end, input_ids, past, lengths[:, None] - 1, logits, lengths=lengths)
        for row, prompt in enumerate(prompts):
            self._hold(first_slot + row, 0, prompt)
        return logits.step(len(prompts))

    def score(self, input_ids: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
        """Logits `[positions, vocab]` of one text through slot 0: at every position, or at those given."""
        self.reserve(1, len(input_ids))
        wanted = np.arange(len(input_ids)) if positions is None else positions
        self.lengths[0] = 0
        logits = HostLogits(len(wanted), self.vocab_size)
        self._run(0, 1, input_ids[None], np.array([0]), wanted[None], logits)
        self._hold(0, 0, input_ids)
        return logits.array

    def extend(self, slot: int, tokens: np.ndarray, best: bool = False) -> Step:
        """Append tokens `[n]` to a slot in one run; returns the logits after each, n rows.

        One slot at a time: ONNX Runtime's operator takes several tokens behind a past for a batch of one alone.
        """
        past, logits = int(self.lengths[slot]), self.logits_for(len(tokens), best)
        self._run(slot, slot + 1, tokens[None], np.array([past]), np.arange(len(tokens))[None], logits)
        self._hold(slot, past, tokens)
        return logits.step(len(tokens))

    def decode(self, tokens: Sequence[int] | np.ndarray, best: bool = False) -> Step:
        """One token `[rows]` for each of the first slots; returns the logits of each, valid until the next run."""
        return self._decode_binding(len(tokens), best).run(tokens)

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

    def logits_for(self, rows: int, best: bool) -> Logits:
        """Where runs may write the logits of `rows` rows."""
        if not best:
            return HostLogits(rows, self.vocab_size)
        assert self._best is not None
        if self._best.ensure(max(rows, self.allocated)):
            self._decode_bindings.clear()
        return self._best

    def host_inputs(self, begin: int, end: int) -> dict[str, np.ndarray]:
        """What runs of the slots [begin, end) read besides tokens and memory, in the host's memory."""
        return {}

    def bind_memory(self, binding: Any, begin: int, end: int, total: int | None = None) -> None:
        """Show the slots [begin, end) to a run. total: tokens of the longest, behind the run."""
        self.cache.bind(binding, begin, end)

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

    def _read(self, slot: int, input_ids: np.ndarray, start: int, logits: Logits, row: int) -> None:
        """Write a prompt `[tokens]` into a slot, in chunks; the last one's logits are in `row`."""
        for begin in range(0, len(input_ids), PREFILL_CHUNK):
            chunk = input_ids[begin : begin + PREFILL_CHUNK]
            past = start + begin
            self.lengths[slot] = past  # what lies behind is overwritten, even by a run that fails
            self._run(slot, slot + 1, chunk[None], np.array([past]), np.array([[len(chunk) - 1]]), logits, row)
            self._hold(slot, past, chunk)

    def _run(
        self,
        begin: int,
        end: int,
        input_ids: np.ndarray,
        past: np.ndarray,
        positions: np.ndarray,
        logits: Logits,
        row: int = 0,
        lengths: np.ndarray | None = None,
    ) -> None:
        """Run slots [begin, end); their logits at `positions` `[rows, n]` go to `logits`, from `row` on.

        past `[rows]`: tokens already there; lengths `[rows]`: new ones, without padding.
        """
        tokens = input_ids.shape[1]
        new = np.full(end - begin, tokens) if lengths is None else lengths
        feeds = {
            "input_ids": np.ascontiguousarray(input_ids, np.int64),
            "position_ids": np.ascontiguousarray(past[:, None] + np.arange(tokens)[None], np.int64),
            "logits_positions": np.ascontiguousarray(positions, np.int64),
            "seqlens_k": (past + new - 1).astype(np.int32),
            "total_sequence_length": np.array((past + new).max(), np.int32),
        }
        known = {name: array for name, array in feeds.items() if name in self.inputs} | self.host_inputs(begin, end)
        binding = self.session.io_binding()
        for name, array in known.items():
            bind_array(binding.bind_input, name, array)
        self.bind_memory(binding, begin, end, int(feeds["total_sequence_length"]))
        logits.bind(binding, row, (end - begin, positions.shape[1], self.vocab_size))
        self.session.run_with_iobinding(binding)
