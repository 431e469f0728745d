"""Beam search over the engine's runner: one prompt at a time, its beams in neighbouring slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from runtime.errors import CapacityError
from runtime.generation.beam import BeamSearch
from runtime.generation.config import GenerationConfig
from runtime.generation.engine import Engine
from runtime.generation.logprobs import TokenLogprobs
from runtime.generation.sequence import source_ids


@dataclass(frozen=True)
class Beam:
    """A finished beam, with the names of `Sequence`: ids (prompt and tokens) and why it ended."""

    ids: list[int]
    prompt_length: int
    finish_reason: str
    logprobs: list[TokenLogprobs] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        """The generated tokens."""
        return self.ids[self.prompt_length :]


def search_beams(
    engine: Engine,
    prompt: np.ndarray,
    config: GenerationConfig,
    decode: Callable[[list[int]], str] | None,
    source: Mapping[str, np.ndarray] | None = None,
) -> list[Beam]:
    """The `num_return_sequences` best beams for a prompt `[tokens]`. Has the engine alone, once it is idle.

    Raises `CapacityError` for more beams than slots, `InputError` for a prompt that does not fit.
    """
    runner = engine.runner
    if config.num_beams > runner.slots:
        raise CapacityError(f"{config.num_beams} beams need as many slots, there are {runner.slots}: pass slots=")
    engine.check_prompt(len(prompt))
    read = source_ids(source)
    search = BeamSearch(
        config, prompt.tolist(), runner.vocab_size, decode, runner.max_length, None if read is None else read.tolist()
    )
    with engine.exclusive():
        runner.reserve(config.num_beams, search.stopping.max_length)
        if source is not None:
            runner.encode(0, source)
        tokens, origins, done = search.step(runner.prefill(0, prompt)[None])
        for beam in range(1, config.num_beams):
            runner.copy(0, beam)
        while not done:
            runner.reorder(origins.tolist())
            tokens, origins, done = search.step(runner.decode(tokens))
    reasons = search.finish_reasons()
    return [Beam(ids, len(prompt), reason) for ids, reason in zip(search.result(), reasons, strict=True)]
