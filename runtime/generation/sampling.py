"""From scores to tokens: greedy and multinomial choice, and the object that does it for one request.

Every row draws from its own stream of random numbers, so its tokens do not depend on what else is in the batch. The
numbers are numpy's Philox seeded through `SeedSequence`: the same seed gives the same tokens on every machine whose
scores agree, but not the tokens of torch's generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from runtime.errors import InputError
from runtime.generation.config import GenerationConfig
from runtime.generation.logits import NEGATIVE_INFINITY, Scores, Tokens, log_softmax, softmax, top_indices
from runtime.generation.logprobs import TokenLogprobs, token_logprobs
from runtime.generation.processors import Processor, Rows, apply_processors, build_processors
from runtime.generation.processors.warpers import Temperature, TopK, Truncation


def random_stream(seed: int | None, *stream: int) -> np.random.Generator:
    """An independent generator for each (`seed`, `stream`); a fresh one from the system's entropy for None."""
    if seed is None:
        return np.random.Generator(np.random.Philox())
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=stream)))


def greedy(scores: Scores) -> Tokens:
    """The most probable token of each row: float32 `[rows, vocab]` to int64 `[rows]`; the lower id first among ties."""
    return np.asarray(scores.argmax(axis=-1), np.int64)


def sample(scores: Scores, generators: Sequence[np.random.Generator]) -> Tokens:
    """A token of each row, drawn from its softmax with its own generator: `[rows, vocab]` to int64 `[rows]`.

    Raises `InputError` for a row that has no distribution (all -inf, or NaN or +inf in it).
    """
    drawn = [_draw(row, generator) for row, generator in zip(scores, generators, strict=True)]
    return np.asarray(drawn, np.int64)


def _draw(row: Scores, generator: np.random.Generator) -> int:
    """Inverse-transform sampling: one uniform number per token whatever the vocabulary, so streams stay in step."""
    open_ids = np.flatnonzero(row != NEGATIVE_INFINITY)
    total = np.cumsum(_distribution(row[open_ids]), dtype=np.float64)
    place = int(np.searchsorted(total, generator.random() * total[-1], side="right"))
    # Rounding may reach the total itself; the last token that has any probability is then the one.
    return int(open_ids[min(place, int(np.searchsorted(total, total[-1])))])


def sample_without_replacement(scores: Scores, count: int, generator: np.random.Generator) -> Tokens:
    """`count` different indices of `scores` `[n]`, drawn one after the other from their softmax, in that order.

    Done as torch.multinomial does it: the greatest quotients of probability and exponential noise. Indices without
    probability come last, lowest first, when there are not enough others.
    """
    noise = generator.standard_exponential(len(scores))
    quotients = _distribution(scores) / np.maximum(noise, np.finfo(np.float64).tiny)
    return top_indices(np.asarray(quotients, np.float32), count)


def _distribution(scores: Scores) -> Scores:
    if not len(scores):
        raise InputError("no token is left to choose from: the generation parameters forbid all of them")
    probabilities = softmax(scores)
    if np.isnan(probabilities[0]):
        raise InputError("the scores hold nan or inf, or forbid every token; try remove_invalid_values=True")
    return probabilities


class Sampler:
    """Chooses the next tokens of one request: its processors, then greedy or a draw per row.

    config: the request's parameters. vocab_size: columns of the scores. rows: how many sequences it grows at once
    (`num_return_sequences`). Row i draws from stream (*stream, i) of `config.seed`.
    settings: equal for samplers whose processors do the same, whatever their seeds.
    head: how many of the greatest scores decide the token when the processors begin with a top-k; None: all scores do.
    is_greedy: whether the choice is a bare argmax, which needs no histories. is_plain_greedy: whether it is that, and
    nothing is told about the scores.
    """

    def __init__(self, config: GenerationConfig, vocab_size: int, rows: int = 1, stream: Sequence[int] = ()) -> None:
        self.processors = build_processors(config, vocab_size)
        self.do_sample = config.do_sample
        self.logprobs = config.logprobs
        self.generators = [random_stream(config.seed, *stream, row) for row in range(rows)] if self.do_sample else []
        self.settings = msgspec.json.encode(msgspec.structs.replace(config, seed=None))
        self.head = head_of(self.processors) if self.do_sample and self.logprobs is None else None
        self.is_greedy = not self.processors and not self.do_sample
        self.is_plain_greedy = self.is_greedy and self.logprobs is None

    @property
    def candidates(self) -> int | None:
        """How many of the best candidates of a step are enough for all that is asked; None: no number is."""
        if self.is_greedy:
            return max(1, self.logprobs or 0)
        return None if self.head is None else self.head + 1  # the one behind tells whether there is a tie

    def process(self, rows: Rows, scores: Scores) -> Scores:
        """`scores` `[rows, vocab]` after the request's processors; the argument itself is left as it was."""
        return apply_processors(self.processors, rows, scores)

    def pick(self, processed: Scores) -> tuple[int, TokenLogprobs | None]:
        """The next token of the first row, from its processed scores `[vocab]`, and its log-probabilities if wanted."""
        token = _draw(processed, self.generators[0]) if self.do_sample else int(processed.argmax())
        if self.logprobs is None:
            return token, None
        return token, token_logprobs(log_softmax(processed), token, self.logprobs)

    def draw(self, ids: Tokens, scores: Scores) -> int:
        """The next token of the first row, given its `head` greatest scores and those about equal to the last of them.

        ids `[n]`: their tokens, in ascending order; scores `[n]`: unprocessed. As `pick` from all scores would be.
        """
        processed = self.process(Rows([], []), scores[None])[0]
        return int(ids[_draw(processed, self.generators[0])])

    def __call__(
        self,
        histories: Sequence[Any],
        prompt_lengths: Sequence[int],
        scores: Scores,
        sources: Sequence[Any] | None = None,
        active: Sequence[int] | None = None,
    ) -> Tokens:
        """Next token of each row: scores float32 `[rows, vocab]` to int64 `[rows]`. For the rest see `Rows`.

        `active` names the rows of the request that are given here when some have ended; None: all of them.
        """
        processed = self.process(Rows(histories, prompt_lengths, sources), scores)
        if not self.do_sample:
            return greedy(processed)
        streams = self.generators if active is None else [self.generators[row] for row in active]
        return sample(processed, streams)


def head_of(processors: Sequence[Processor]) -> int | None:
    """The k of a top-k that nothing but a temperature precedes and nothing but truncations follow."""
    rest = list(processors)
    if rest and isinstance(rest[0], Temperature):
        del rest[0]
    if not rest or not isinstance(rest[0], TopK) or not all(isinstance(other, Truncation) for other in rest[1:]):
        return None
    return rest[0].top_k
