"""A bundle's language model, ready to generate: its runner, its engine, and requests made from prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Items
from typing import Any

import numpy as np
import onnxruntime as ort

from runtime.bundle import Bundle
from runtime.errors import BundleError, InputError
from runtime.generation.beams import search_beams
from runtime.generation.candidates import CandidateGraph
from runtime.generation.config import GenerationConfig
from runtime.generation.device_memory import memory_device
from runtime.generation.engine import Engine
from runtime.generation.lookup import PromptLookup
from runtime.generation.runner import Runner
from runtime.generation.sampling import Sampler
from runtime.generation.seq2seq import Seq2SeqRunner
from runtime.generation.sequence import Generated, Sequence
from runtime.generation.slot_cache import CROSS, KEYS
from runtime.generation.slots import SlotRunner
from runtime.generation.states import StateRunner
from runtime.generation.stopping import Stopping
from runtime.session import open_session

DEFAULT_SLOTS = 8
Source = Mapping[str, np.ndarray] | None
Sources = Items[Source] | None


def open_runner(
    bundle: Bundle,
    provider: str,
    threads: int | None,
    slots: int,
    max_length: int | None,
    spinning: bool = True,
    device_memory: bool | None = None,
) -> Runner:
    """The runner for the bundle's kind of cache. max_length: tokens a slot may hold, the model's context by default.

    device_memory: whether keys and values lie in memory of the provider's device instead of numpy arrays; by default
    where attention reads them on another device than the CPU. True works on a CPU too: it is there for tests.
    """
    spec, graphs = bundle.manifest.cache, bundle.manifest.graphs
    if spec is None:
        raise BundleError(f"{bundle.directory} has no cache: it is no text-generation bundle")
    length = min(max_length or spec.max_length, spec.max_length)
    sessions = {name: open_session(bundle.graph(name), provider, threads, spinning) for name in graphs}
    best = open_candidates(bundle, provider)
    if spec.kind == "slots":
        decoder = "decoder" if spec.cross else "model"
        device = slot_device(sessions[decoder], KEYS, device_memory)
        if spec.cross:
            cross_device = slot_device(sessions[decoder], CROSS, device_memory)
            return Seq2SeqRunner(sessions, graphs, spec, slots, length, best, device, cross_device)
        return SlotRunner(sessions[decoder], graphs[decoder], spec, slots, length, best, device)
    if spec.kind == "states":
        return StateRunner(sessions, graphs, spec, slots, length)
    raise BundleError(f"{bundle.directory}: unknown kind of cache {spec.kind!r}")


def slot_device(session: ort.InferenceSession, arrays: str, wanted: bool | None) -> str | None:
    """The device whose memory holds keys and values of a decoder, None for the host's.

    It is where their operator runs: a CUDA session leaves the ones that CUDA has no kernel for to the CPU (attention
    with keys and values in float32, as of ONNX Runtime 1.31).
    """
    device = memory_device(session, f"{arrays}.0.key")
    return device if wanted or (wanted is None and device != "cpu") else None


def open_candidates(bundle: Bundle, provider: str) -> CandidateGraph | None:
    """The graph that picks candidates, None for bundles from before there was one. One thread does: it is one pass."""
    graph = bundle.manifest.candidates
    if graph is None:
        return None
    return CandidateGraph(open_session(bundle.file(graph.file), provider, 1, False), graph)


class LanguageModel:
    """Generates token ids from token ids, and from sources where there is an encoder."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.engine = Engine(runner)

    def request(
        self,
        prompt_ids: np.ndarray,
        config: GenerationConfig,
        decode: Callable[[list[int]], str] | None = None,
        row: int = 0,
        source: Source = None,
    ) -> Sequence:
        """A sequence for the engine. row: which of `num_return_sequences` it is; each draws its own random numbers."""
        lookup = None
        if config.prompt_lookup_num_tokens is not None:
            if not self.runner.rewinds:
                raise InputError("prompt_lookup_num_tokens does not work with this model: its states cannot go back")
            lookup = PromptLookup(config.prompt_lookup_num_tokens, config.max_matching_ngram_size, config.eos_token_ids)
        sampler = Sampler(config, self.runner.vocab_size, stream=(row,))
        stopping = Stopping(config, len(prompt_ids), decode, limit=self.runner.max_length)
        return Sequence(prompt_ids, sampler, stopping, source, lookup)

    def generate(
        self,
        prompts: list[np.ndarray],
        config: GenerationConfig,
        decode: Callable[[list[int]], str] | None = None,
        sources: Sources = None,
    ) -> list[list[Generated]]:
        """`num_return_sequences` sequences for each prompt `[tokens]`, in as few runs as there are slots for.

        sources: for encoder–decoders, what the encoder reads for each prompt, arrays `[1, ...]` by input name.
        """
        if config.num_beams > 1:
            return [[*group] for group in search_beams(self.engine, prompts, config, decode, sources)]
        pairs = list(zip(prompts, sources or [None] * len(prompts), strict=True))
        groups = [
            [self.request(prompt, config, decode, row, source) for row in range(config.num_return_sequences)]
            for prompt, source in pairs
        ]
        self.engine.run([sequence for group in groups for sequence in group])
        return [[*group] for group in groups]

    def close(self) -> None:
        """Stop the engine's thread."""
        self.engine.close()


def as_ids(tokens: Any) -> np.ndarray:
    """Token ids as int64 `[tokens]`."""
    return np.asarray(tokens, np.int64).reshape(-1)
