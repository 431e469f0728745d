"""Beam search over the engine's runner: as many prompts at once as there are slots for their beams.

The beams of a prompt are neighbouring slots, and all of them advance in one run. A search that is done leaves at once:
the last one moves into its slots, and the next prompts start when all have left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, field

import numpy as np

from runtime.errors import CancelledError, CapacityError
from runtime.generation.beam import BeamSearch
from runtime.generation.cancellation import check_cancelled
from runtime.generation.candidates import all_logits
from runtime.generation.config import GenerationConfig
from runtime.generation.engine import Engine
from runtime.generation.logprobs import TokenLogprobs
from runtime.generation.prompt_reader import little_padding
from runtime.generation.runner import Runner
from runtime.generation.sequence import source_ids

Source = Mapping[str, np.ndarray] | None


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


@dataclass
class Place:
    """A search, and the first of the slots that its beams have."""

    search: BeamSearch
    slot: int
    source: Source
    tokens: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    origins: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def step(self, logits: np.ndarray) -> None:
        """Take the logits of its rows; says in `tokens` and `origins` what to run next."""
        self.tokens, self.origins, _ = self.search.step(logits)


def search_beams(
    engine: Engine,
    prompts: Items[np.ndarray],
    config: GenerationConfig,
    decode: Callable[[list[int]], str] | None,
    sources: Items[Source] | None = None,
) -> list[list[Beam]]:
    """The `num_return_sequences` best beams for each prompt `[tokens]`. Has the engine alone, once it is idle.

    Raises `CapacityError` for more beams than slots, `InputError` for a prompt that does not fit, `CancelledError`
    before the next step when the caller's `Cancellation` says so.
    """
    runner = engine.runner
    if config.num_beams > runner.slots:
        raise CapacityError(f"{config.num_beams} beams need as many slots, there are {runner.slots}: pass slots=")
    for prompt in prompts:
        engine.check_prompt(len(prompt))
    pairs = zip(prompts, sources or [None] * len(prompts), strict=True)
    searches = [(start_search(runner, prompt, config, decode, source), source) for prompt, source in pairs]
    together = runner.slots // config.num_beams
    try:
        with engine.exclusive(min(together, len(searches)) * config.num_beams):
            for begin in range(0, len(searches), together):
                run_together(runner, searches[begin : begin + together], config.num_beams)
    except BaseException as error:
        reason = "cancelled" if isinstance(error, CancelledError) else "error"
        engine.count(prompts, [(reason, 0)] * len(prompts))
        raise
    found = [results(search) for search, _ in searches]
    engine.count(prompts, [(beam.finish_reason, len(beam.tokens)) for beams in found for beam in beams])
    return found


def start_search(
    runner: Runner,
    prompt: np.ndarray,
    config: GenerationConfig,
    decode: Callable[[list[int]], str] | None,
    source: Source,
) -> BeamSearch:
    """The bookkeeping of one prompt's beams."""
    read = source_ids(source)
    ids = None if read is None else read.tolist()
    return BeamSearch(config, prompt.tolist(), runner.vocab_size, decode, runner.max_length, ids)


def run_together(runner: Runner, searches: Items[tuple[BeamSearch, Source]], beams: int) -> None:
    """Run searches to their ends, `beams` slots each."""
    check_cancelled()
    places = [Place(search, number * beams, source) for number, (search, source) in enumerate(searches)]
    runner.reserve(len(places) * beams, max(place.search.stopping.max_length for place in places))
    read_prompts(runner, places)
    while places := leave(runner, places, beams):
        check_cancelled()
        reorder(runner, places)
        logits = all_logits(runner.decode(np.concatenate([place.tokens for place in places])))
        for place in places:
            place.step(logits[place.slot : place.slot + beams])


def read_prompts(runner: Runner, places: list[Place]) -> None:
    """Every prompt into its first slot; those of like lengths in one run. Then its beams, as copies."""
    prompts = [place.search.sequences[0].copy() for place in places]
    together = len(places) > 1 and little_padding(prompts)
    # One run needs neighbours: the prompts take the first slots, and move into their own from behind.
    slots = list(range(len(places))) if together else [place.slot for place in places]
    for slot, place in zip(slots, places, strict=True):
        if place.source is not None:
            runner.encode(slot, place.source)
    if together:
        logits = all_logits(runner.prefill_together(0, prompts))
    else:
        logits = all_logits(runner.prefill_each(slots, prompts))
    for slot, place in reversed(list(zip(slots, places, strict=True))):
        for beam in range(place.search.beams):
            if place.slot + beam != slot:
                runner.copy(slot, place.slot + beam)
    for place, row in zip(places, logits, strict=True):
        place.step(row[None])


def leave(runner: Runner, places: list[Place], beams: int) -> list[Place]:
    """The searches that go on, in the first slots."""
    going = [place for place in places if not place.search.done]
    free = {number * beams for number in range(len(going))} - {place.slot for place in going}
    for place in going:
        if place.slot >= len(going) * beams:
            target = free.pop()
            for beam in range(beams):
                runner.copy(place.slot + beam, target + beam)
            place.slot = target
    return sorted(going, key=lambda place: place.slot)


def reorder(runner: Runner, places: Iterable[Place]) -> None:
    """Every search's slots as its beams go on."""
    runner.reorder([int(place.slot + origin) for place in places for origin in place.origins])


def results(search: BeamSearch) -> list[Beam]:
    """The best beams of a search that is done."""
    parts = zip(search.result(), search.finish_reasons(), search.logprobs(), strict=True)
    return [Beam(ids, search.prompt_length, reason, logprobs) for ids, reason, logprobs in parts]
