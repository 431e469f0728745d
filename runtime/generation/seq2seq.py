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
from runtime.errors import InputError
from runtime.generation.candidates import CandidateGraph, Step
from runtime.generation.decode_binding import DecodeBinding
from runtime.generation.slot_cache import CrossMemory
from runtime.generation.slots import SlotRunner
from runtime.generation.statistics import Memory

Values = dict[str, np.ndarray | ort.OrtValue]


class Seq2SeqRunner(SlotRunner):
    """Runs `encoder` and `decoder`. Not thread-safe: the engine owns it.

    cross_device: where the sources' keys and values lie, as `device` for the decoder's own.
    """

    rewinds = False  # what a slot holds depends on its source too

    def __init__(
        self,
        sessions: Mapping[str, ort.InferenceSession],
        graphs: Mapping[str, GraphSpec],
        spec: CacheSpec,
        slots: int,
        max_length: int,
        best: CandidateGraph | None = None,
        device: str | None = None,
        cross_device: str | None = None,
    ) -> None:
        super().__init__(sessions["decoder"], graphs["decoder"], spec, slots, max_length, best, device)
        self.encoder = sessions["encoder"]
        self.encoder_graph = graphs["encoder"]
        self.cross_device = cross_device
        self.cross = CrossMemory(spec, cross_device)
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
        outputs = self._run_encoder(feeds)
        first = outputs[self.encoder_graph.outputs[0].name]
        length = (first.shape if isinstance(first, np.ndarray) else first.shape())[2]
        mask = source["attention_mask"][0] if "attention_mask" in source else np.ones(length, np.int64)
        if self.cross.ensure(max(self.cross.slots, slot + 1), length):
            self._decode_bindings.clear()
        self.cross.fill(slot, outputs, mask)

    def _run_encoder(self, feeds: dict[str, np.ndarray]) -> Values:
        """The encoder's outputs. Raises `InputError` for a text with more tokens than it has positions."""
        names = [spec.name for spec in self.encoder_graph.outputs]
        try:
            outputs = self.encoder.run(names, feeds) if self.cross_device is None else self._encode_there(names, feeds)
        except Exception as error:  # ONNX Runtime's: a table of positions that ends, or is added to more of them
            length = feeds["input_ids"].shape[1] if "input_ids" in feeds else 0
            if length <= self.context:
                raise
            raise InputError(
                f"the text has {length} tokens, this model reads {self.context}: shorten it, or pass truncation=True"
            ) from error
        return dict(zip(names, outputs, strict=True))

    def _encode_there(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[ort.OrtValue]:
        """The encoder's outputs, left on the device."""
        binding = self.encoder.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name in names:
            binding.bind_output(name, self.cross_device)
        self.encoder.run_with_iobinding(binding)
        outputs: list[ort.OrtValue] = binding.get_outputs()
        return outputs

    def prefill_together(self, first_slot: int, prompts: Sequence[np.ndarray], best: bool = False) -> Step:
        """As in `SlotRunner`; prompts of different lengths one by one where rows step together."""
        if self.lockstep and len({len(prompt) for prompt in prompts}) > 1:
            return self.prefill_each(range(first_slot, first_slot + len(prompts)), prompts, best)
        return super().prefill_together(first_slot, prompts, best)

    def decode(self, tokens: Sequence[int] | np.ndarray, best: bool = False) -> Step:
        """One token `[rows]` for each of the first slots; returns the logits of each, valid until the next run.

        Where rows step together, neighbours of equal length share a run.
        """
        if self._steps_together(len(tokens)):
            return super().decode(tokens, best)
        ids, lengths = np.asarray(tokens, np.int64), self.lengths[: len(tokens)].copy()
        logits = self.logits_for(len(tokens), best)
        for begin, end in equal_runs(lengths):
            zeros = np.zeros((end - begin, 1), np.int64)
            self._run(begin, end, ids[begin:end, None], lengths[begin:end], zeros, logits, begin)
        for row, token in enumerate(ids.tolist()):
            self.cells.take(row, token)
        return logits.step(len(tokens))

    def _steps_together(self, rows: int) -> bool:
        lengths = self.lengths[:rows]
        return not self.lockstep or bool((lengths == lengths[0]).all())

    def _decode_binding(self, rows: int, best: bool = False) -> DecodeBinding:
        binding = super()._decode_binding(rows, best)
        if "decoder_attention_mask" in self.inputs:  # as long as the text, so it cannot be bound once
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

    def host_inputs(self, begin: int, end: int) -> dict[str, np.ndarray]:
        """How much of each source is real."""
        return {"encoder_attention_mask": self.cross.mask[begin:end]}

    def bind_memory(self, binding: Any, begin: int, end: int, total: int | None = None) -> None:
        """As in `SlotRunner`, and the sources'."""
        super().bind_memory(binding, begin, end)
        self.cross.bind(binding, begin, end)
        if "decoder_attention_mask" in self.inputs and total is not None:
            binding.bind_cpu_input("decoder_attention_mask", np.ones((end - begin, total), np.int64))


def equal_runs(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """[begin, end) of each run of equal neighbours."""
    cuts = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
    yield from itertools.pairwise(cuts)
