"""The runner of encoder–decoders: the encoder once per source, its cross-attention keys and values kept per slot.

Sources of different lengths share steps: each slot's cross memory is as long as the longest needed so far, and
`encoder_attention_mask` says how much of it is real.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from runtime.bundle import CacheSpec, GraphSpec
from runtime.errors import CapacityError, InputError
from runtime.generation.candidates import CandidateGraph, Candidates
from runtime.generation.decode_binding import DecodeBinding, bind_array
from runtime.generation.slots import SlotRunner
from runtime.generation.statistics import Memory

ROUND = 64


class CrossMemory:
    """Cross-attention keys and values `[slots, heads, length, head_dim]` by graph input name, and their mask.

    Zeros, not garbage, beyond a source's length: the mask takes a weight of zero there, and zero times NaN is NaN.
    """

    def __init__(self, spec: CacheSpec) -> None:
        self.dtype = np.dtype(spec.dtype)
        self.layers = spec.cross
        self.slots = 0
        self.length = 0
        self.buffers: dict[str, np.ndarray] = {}
        self.mask = np.zeros((0, 0), np.int64)

    def ensure(self, slots: int, length: int) -> bool:
        """Grow to at least `slots` rows of `length` positions, keeping what is there; says whether buffers moved."""
        if slots <= self.slots and length <= self.length:
            return False
        slots, length = max(slots, self.slots), max(-(-length // ROUND) * ROUND, self.length)
        for layer, (heads, head_dim) in enumerate(self.layers):
            for part in ("key", "value"):
                name = f"cross_key_values.{layer}.{part}"
                self.buffers[name] = grown(self.buffers.get(name), (slots, heads, length, head_dim), self.dtype)
        self.mask = grown(self.mask, (slots, length), self.mask.dtype)
        self.slots, self.length = slots, length
        return True

    def fill(self, slot: int, outputs: Mapping[str, np.ndarray], mask: np.ndarray) -> None:
        """Keep what the encoder gave for one source: arrays `[1, heads, n, head_dim]`, mask `[n]`."""
        count = len(mask)
        for name, buffer in self.buffers.items():
            buffer[slot, :, :count] = outputs[name][0]
            buffer[slot, :, count:] = 0
        self.mask[slot, :count], self.mask[slot, count:] = mask, 0

    def copy(self, source: int, target: int) -> None:
        """Slot `target` reads the same source as `source`."""
        for buffer in self.buffers.values():
            buffer[target] = buffer[source]
        self.mask[target] = self.mask[source]

    def swap(self, one: int, other: int) -> None:
        """Exchange the sources of two slots."""
        for buffer in [*self.buffers.values(), self.mask]:
            buffer[[one, other]] = buffer[[other, one]]

    @property
    def nbytes(self) -> int:
        """Bytes of the memory as it is now."""
        return sum(buffer.nbytes for buffer in self.buffers.values()) + self.mask.nbytes


def grown(old: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Zeros of `shape` with `old` in their corner."""
    try:
        new = np.zeros(shape, dtype)
    except MemoryError as error:
        raise CapacityError(f"no memory for cross-attention of {shape}: shorter sources or fewer slots") from error
    if old is not None:
        new[tuple(slice(size) for size in old.shape)] = old
    return new


class Seq2SeqRunner(SlotRunner):
    """Runs `encoder` and `decoder`. Not thread-safe: the engine owns it."""

    rewinds = False  # what a slot holds depends on its source too

    def __init__(
        self,
        sessions: Mapping[str, ort.InferenceSession],
        graphs: Mapping[str, GraphSpec],
        spec: CacheSpec,
        slots: int,
        max_length: int,
        best: CandidateGraph | None = None,
    ) -> None:
        super().__init__(sessions["decoder"], graphs["decoder"], spec, slots, max_length, best)
        self.encoder = sessions["encoder"]
        self.encoder_graph = graphs["encoder"]
        self.cross = CrossMemory(spec)
        self.lockstep = spec.lockstep
        self.context = spec.max_length

    def reserve(self, slots: int, length: int) -> None:
        """Make room for `slots` rows of `length` decoder tokens."""
        super().reserve(slots, length)
        if self.cross.ensure(slots, self.cross.length):
            self._decode_bindings.clear()

    def encode(self, slot: int, source: Mapping[str, np.ndarray]) -> None:
        """Run the encoder on one source (`[1, n]` arrays by input name), and keep its cross-attention in `slot`."""
        feeds = {spec.name: source[spec.name] for spec in self.encoder_graph.inputs}
        names = [spec.name for spec in self.encoder_graph.outputs]
        outputs = dict(zip(names, self._run_encoder(names, feeds), strict=True))
        length = outputs[names[0]].shape[2]
        mask = source["attention_mask"][0] if "attention_mask" in source else np.ones(length, np.int64)
        if self.cross.ensure(max(self.cross.slots, slot + 1), length):
            self._decode_bindings.clear()
        self.cross.fill(slot, outputs, mask)

    def _run_encoder(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The encoder's outputs. Raises `InputError` for a text with more tokens than it has positions."""
        try:
            outputs: list[np.ndarray] = self.encoder.run(names, feeds)
        except Exception as error:  # ONNX Runtime's: a table of positions that ends, or is added to more of them
            length = feeds["input_ids"].shape[1] if "input_ids" in feeds else 0
            if length <= self.context:
                raise
            raise InputError(
                f"the text has {length} tokens, this model reads {self.context}: shorten it, or pass truncation=True"
            ) from error
        return outputs

    def prefill_together(self, first_slot: int, prompts: Sequence[np.ndarray]) -> np.ndarray:
        """As in `SlotRunner`; prompts of different lengths one by one where rows step together."""
        if self.lockstep and len({len(prompt) for prompt in prompts}) > 1:
            return np.stack([self.prefill(first_slot + row, prompt) for row, prompt in enumerate(prompts)])
        return super().prefill_together(first_slot, prompts)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """One token `[rows]` for each of the first slots; returns logits `[rows, vocab]`, valid until the next run.

        Where rows step together, neighbours of equal length share a run.
        """
        if self._steps_together(len(tokens)):
            return super().decode(tokens)
        ids, lengths, parts = np.asarray(tokens, np.int64), self.lengths[: len(tokens)].copy(), []
        for begin, end in equal_runs(lengths):
            zeros = np.zeros((end - begin, 1), np.int64)
            parts.append(self._run(begin, end, ids[begin:end, None], lengths[begin:end], zeros)[:, 0])
        for row, token in enumerate(ids.tolist()):
            self.cells.take(row, token)
        return np.concatenate(parts)

    def decode_candidates(self, tokens: Sequence[int] | np.ndarray) -> Candidates | np.ndarray:
        """As in `SlotRunner`; all logits where rows cannot share a run."""
        return super().decode_candidates(tokens) if self._steps_together(len(tokens)) else self.decode(tokens)

    def _steps_together(self, rows: int) -> bool:
        lengths = self.lengths[:rows]
        return not self.lockstep or bool((lengths == lengths[0]).all())

    def _decode_binding(self, rows: int, best: bool = False) -> DecodeBinding:
        binding = super()._decode_binding(rows, best)
        if "decoder_attention_mask" in self._inputs:  # as long as the text, so it cannot be bound once
            total = int(self.lengths[:rows].max()) + 1
            binding.binding.bind_cpu_input("decoder_attention_mask", np.ones((rows, total), np.int64))
        return binding

    def memory(self) -> Memory:
        """Bytes of keys and values, those of the sources included; no limit, for sources may have any length."""
        return Memory(self.slots, self.max_length, self.cache.nbytes + self.cross.nbytes, None)

    def copy(self, source: int, target: int, length: int | None = None) -> None:
        """Slot `target` becomes what `source` is, the source text included."""
        super().copy(source, target, length)
        self.cross.copy(source, target)

    def swap(self, one: int, other: int) -> None:
        """Exchange two slots, the source texts included."""
        super().swap(one, other)
        self.cross.swap(one, other)

    def _bind_cache(self, binding: Any, begin: int, end: int, total: int | None = None) -> None:
        super()._bind_cache(binding, begin, end)
        for name, buffer in self.cross.buffers.items():
            bind_array(binding.bind_input, name, buffer[begin:end])
        bind_array(binding.bind_input, "encoder_attention_mask", self.cross.mask[begin:end])
        if "decoder_attention_mask" in self._inputs and total is not None:
            binding.bind_cpu_input("decoder_attention_mask", np.ones((end - begin, total), np.int64))


def equal_runs(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """[begin, end) of each run of equal neighbours."""
    cuts = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
    yield from itertools.pairwise(cuts)
