"""Beam search and beam sampling: the bookkeeping of one prompt's beams, as HF's `_beam_search` (transformers 5.23).

HF works on a batch of prompts at once and freezes those that are done until all are; no rule in it crosses prompts, so
here each prompt has its own search and ends by itself. All sums are in float32 and in HF's order: the same beams win.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.generation.config import GenerationConfig
from runtime.generation.logits import Scores, Tokens, log_softmax, top_indices
from runtime.generation.logprobs import TokenLogprobs, token_logprobs
from runtime.generation.processors import Rows, apply_processors, build_processors
from runtime.generation.sampling import random_stream, sample_without_replacement
from runtime.generation.stopping import Decode, FinishReason, Stopping

Mask = NDArray[np.bool_]
Trail = list[TokenLogprobs]
OUT_OF_THE_RACE = np.float32(-1.0e9)  # HF's penalty; finite, so that a hopeless beam still has an order


class BeamSearch:
    """The beams of one prompt.

    config: the request's parameters, `num_beams` of them at least 2. prompt_ids: the prompt, for encoder-decoders
    the decoder's. vocab_size: columns of the logits. decode: for `stop_strings`. limit: most tokens of a sequence.
    source_ids: what the encoder saw. stream: see `Sampler`; used by beam sampling.

    Call `step` with the logits of the running beams until it says done; then `result`, `scores`, `finish_reasons`
    hold the `num_return_sequences` best, best first.
    """

    def __init__(
        self,
        config: GenerationConfig,
        prompt_ids: Sequence[int],
        vocab_size: int,
        decode: Decode | None = None,
        limit: int | None = None,
        source_ids: Sequence[int] | None = None,
        stream: Sequence[int] = (),
    ) -> None:
        if config.num_beams < 2:
            raise InputError(f"beam search needs num_beams of at least 2, but it is {config.num_beams}")
        self.config = config
        self.beams = config.num_beams
        self.vocab_size = vocab_size
        self.prompt_length = self.length = len(prompt_ids)
        self.stopping = Stopping(config, self.prompt_length, decode, limit)
        self.processors = build_processors(config, vocab_size)
        self.sources = None if source_ids is None else [source_ids] * self.beams
        self.generator = random_stream(config.seed, *stream) if config.do_sample else None
        # With more candidates than ends, enough beams that go on remain even if every beam's best tokens are ends.
        self.candidates = max(2, 1 + len(config.eos_token_ids)) * self.beams
        self._start(np.asarray(prompt_ids, np.int64))

    def _start(self, prompt: Tokens) -> None:
        self.running = np.zeros((self.beams, self.stopping.max_length), np.int64)
        self.running[:, : self.length] = prompt
        # All beams are still the same: only the first may win, or they would stay the same.
        self.running_scores = np.full(self.beams, OUT_OF_THE_RACE, np.float32)
        self.running_scores[0] = 0
        self.finished = self.running.copy()
        self.finished_lengths = np.full(self.beams, self.length)
        self.finished_scores = np.full(self.beams, OUT_OF_THE_RACE, np.float32)
        self.is_finished = np.zeros(self.beams, np.bool_)
        self.running_trails: list[Trail] = [[] for _ in range(self.beams)]
        self.finished_trails: list[Trail] = [[] for _ in range(self.beams)]
        self.done = False

    @property
    def sequences(self) -> Tokens:
        """The running beams so far, prompt included: int64 `[num_beams, length]`, a view."""
        return self.running[:, : self.length]

    def step(self, logits: Scores) -> tuple[Tokens, Tokens, bool]:
        """Advance all beams by one token.

        logits: float32 `[num_beams, vocab]`, of the last token of each running beam, or `[1, vocab]` after a prompt
        that was run once. Returns the tokens to feed next `[num_beams]`, the beam whose cache each one continues
        `[num_beams]` (both int64), and whether the search is done, in which case nothing has to be fed.
        """
        if self.done:
            raise RuntimeError("the beam search is done: take its result")
        processed = self._process(logits)
        values, origins, tokens = self._choose((processed + self.running_scores[:, None]).reshape(-1))
        trails = self._trails(processed, origins, tokens)
        candidates = self.running[origins]
        candidates[:, self.length] = tokens
        ended = self.stopping.ended(list(candidates[:, : self.length + 1]))
        next_beams = self._go_on(candidates, values, ended, trails)
        self._collect(candidates, values, ended, trails)
        self.length += 1
        self.done = not self._may_improve() or bool(ended.all()) or self._is_full()
        return tokens[next_beams], origins[next_beams], self.done

    def _process(self, logits: Scores) -> Scores:
        """Log-probabilities of every continuation of every beam, after the processors: `[num_beams, vocab]`."""
        scores = np.broadcast_to(log_softmax(np.asarray(logits, np.float32)), (self.beams, self.vocab_size))
        rows = Rows(list(self.sequences), [self.prompt_length] * self.beams, self.sources)
        return apply_processors(self.processors, rows, scores)

    def _trails(self, processed: Scores, origins: Tokens, tokens: Tokens) -> list[Trail]:
        """The candidates' log-probabilities, token by token; empty lists unless they are asked for."""
        count = self.config.logprobs
        if count is None:
            return [[]] * len(tokens)
        logarithms = log_softmax(processed)
        return [
            [*self.running_trails[origin], token_logprobs(logarithms[origin], token, count)]
            for origin, token in zip(origins.tolist(), tokens.tolist(), strict=True)
        ]

    def _choose(self, accumulated: Scores) -> tuple[Scores, Tokens, Tokens]:
        """Scores, beams and tokens of the candidates, best first (in order of drawing when sampling)."""
        count = min(self.candidates, len(accumulated))
        if self.generator is None:
            chosen = top_indices(accumulated, count)
        else:
            chosen = sample_without_replacement(accumulated, count, self.generator)
        return accumulated[chosen], chosen // self.vocab_size, chosen % self.vocab_size

    def _go_on(self, candidates: Tokens, values: Scores, ended: Mask, trails: list[Trail]) -> Tokens:
        """Keep the best candidates that have not ended as the running beams; returns which they are."""
        open_values = values + _handicap(ended)
        best = top_indices(open_values, self.beams)
        self.running, self.running_scores = candidates[best], open_values[best]
        self.running_trails = [trails[place] for place in best]
        return best

    def _collect(self, candidates: Tokens, values: Scores, ended: Mask, trails: list[Trail]) -> None:
        """Take ended candidates among the first `num_beams` into the finished ones if they are better."""
        taken = ended & (np.arange(len(ended)) < self.beams)
        normalized = values / self._length_norm(self.length + 1) + _handicap(~taken)
        best = top_indices(np.concatenate([self.finished_scores, normalized]), self.beams)
        lengths = np.full(len(candidates), self.length + 1)
        self.finished = np.concatenate([self.finished, candidates])[best]
        self.finished_lengths = np.concatenate([self.finished_lengths, lengths])[best]
        self.finished_scores = np.concatenate([self.finished_scores, normalized])[best]
        self.is_finished = np.concatenate([self.is_finished, taken])[best]
        everyone = [*self.finished_trails, *trails]
        self.finished_trails = [everyone[place] for place in best]

    def _length_norm(self, length: int) -> np.float32:
        return np.float32((length - self.prompt_length) ** self.config.length_penalty)

    def _is_full(self) -> bool:
        """Whether early stopping holds: as many finished sequences as beams."""
        return self.config.early_stopping is True and bool(self.is_finished.all())

    def _may_improve(self) -> bool:
        """HF's heuristic: whether the best running beam, at its best length, beats the worst finished sequence."""
        to_the_end = self.config.early_stopping == "never" and self.config.length_penalty > 0.0
        best_length = self.stopping.max_length if to_the_end else self.length
        best_score = self.running_scores[0] / self._length_norm(best_length)
        worst = self.finished_scores.min() if self.is_finished.all() else OUT_OF_THE_RACE
        return bool(best_score > worst)

    def result(self) -> list[list[int]]:
        """The best sequences, best first, prompt included and without padding; HF's `sequences`."""
        return [self._sequence(place) for place in range(self.config.num_return_sequences)]

    def generated(self) -> list[list[int]]:
        """As `result`, without the prompt."""
        return [sequence[self.prompt_length :] for sequence in self.result()]

    def scores(self) -> list[float]:
        """Of each result: sum of log-probabilities over length^length_penalty; HF's `sequences_scores`."""
        return [float(score) for score in self.finished_scores[: self.config.num_return_sequences]]

    def logprobs(self) -> list[list[TokenLogprobs]]:
        """Of each result's tokens, normalised after the processors; empty lists unless `logprobs` was set."""
        return self.finished_trails[: self.config.num_return_sequences]

    def finish_reasons(self) -> list[FinishReason]:
        """Why each result ended."""
        return [self.stopping.reason(sequence) or "length" for sequence in self.result()]

    def _sequence(self, place: int) -> list[int]:
        return [int(i) for i in self.finished[place, : self.finished_lengths[place]]]


def _handicap(is_out: Any) -> Scores:
    """HF's penalty where `is_out`, else 0, in float32."""
    return np.asarray(is_out, np.float32) * OUT_OF_THE_RACE
