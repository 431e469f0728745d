"""Which processors a request needs, in HF's order (`GenerationMixin._get_logits_processor`, transformers 5.23)."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import InputError
from runtime.generation.config import GenerationConfig
from runtime.generation.processors.base import Processor
from runtime.generation.processors.bias import SequenceBias, bad_words
from runtime.generation.processors.length import ExponentialDecayLengthPenalty, ForcedBOS, ForcedEOS, MinLength
from runtime.generation.processors.repetition import (
    EncoderNoRepeatNGram,
    EncoderRepetitionPenalty,
    NoRepeatNGram,
    RepetitionPenalty,
)
from runtime.generation.processors.tokens import (
    SuppressTokens,
    SuppressTokensAtBegin,
    remove_invalid_values,
    renormalize,
)
from runtime.generation.processors.warpers import Epsilon, Eta, MinP, Temperature, TopH, TopK, TopP, Typical


def build_processors(config: GenerationConfig, vocab_size: int) -> list[Processor]:
    """The processors of `config` for scores `[rows, vocab_size]`; empty for plain greedy search.

    Raises `InputError` for token ids that would have to be scored and are outside of the vocabulary.
    """
    processors = [*_on_sequences(config, vocab_size), *_on_lengths(config, vocab_size), *_on_tokens(config, vocab_size)]
    if config.do_sample:
        processors += _warpers(config)
    return [*processors, renormalize] if config.renormalize_logits else processors


def _on_sequences(config: GenerationConfig, vocab_size: int) -> list[Processor]:
    chosen: list[Processor] = []
    if config.sequence_bias:
        chosen.append(SequenceBias(config.sequence_bias, vocab_size))
    if config.encoder_repetition_penalty != 1.0:
        chosen.append(EncoderRepetitionPenalty(config.encoder_repetition_penalty))
    if config.repetition_penalty != 1.0:
        chosen.append(RepetitionPenalty(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        chosen.append(NoRepeatNGram(config.no_repeat_ngram_size))
    if config.encoder_no_repeat_ngram_size:
        chosen.append(EncoderNoRepeatNGram(config.encoder_no_repeat_ngram_size))
    words = bad_words(config.bad_words_ids or [], config.eos_token_ids)
    if words:
        chosen.append(SequenceBias(words, vocab_size))
    return chosen


def _on_lengths(config: GenerationConfig, vocab_size: int) -> list[Processor]:
    chosen: list[Processor] = []
    if config.eos_token_ids and (config.min_length or config.min_new_tokens):
        chosen.append(MinLength(config.min_total_length, config.eos_token_ids, vocab_size))
    if config.forced_bos_token_id is not None:
        _check_within("forced_bos_token_id", [config.forced_bos_token_id], vocab_size)
        chosen.append(ForcedBOS(config.forced_bos_token_id))
    if config.forced_eos_token_ids:
        _check_within("forced_eos_token_id", config.forced_eos_token_ids, vocab_size)
        chosen.append(ForcedEOS(config.max_total_length, config.forced_eos_token_ids))
    return chosen


def _check_within(name: str, ids: Sequence[int], vocab_size: int) -> None:
    if any(not 0 <= i < vocab_size for i in ids):
        raise InputError(f"{name} {list(ids)} is not in the vocabulary of {vocab_size}")


def _on_tokens(config: GenerationConfig, vocab_size: int) -> list[Processor]:
    chosen: list[Processor] = []
    if config.remove_invalid_values:
        chosen.append(remove_invalid_values)
    if config.exponential_decay_length_penalty is not None:
        start, factor = config.exponential_decay_length_penalty
        chosen.append(ExponentialDecayLengthPenalty(start, factor, config.eos_token_ids, vocab_size))
    if config.suppress_tokens:
        chosen.append(SuppressTokens(config.suppress_tokens, vocab_size))
    if config.begin_suppress_tokens:
        bos_is_forced = config.forced_bos_token_id is not None
        chosen.append(SuppressTokensAtBegin(config.begin_suppress_tokens, vocab_size, bos_is_forced))
    return chosen


def _warpers(config: GenerationConfig) -> list[Processor]:
    """HF's former `LogitsWarper`s. Beams need one token that is no end to go on with, hence `keep`."""
    keep = max(2, len(config.eos_token_ids) + 1) if config.num_beams > 1 else 1
    possible: list[tuple[bool, Processor]] = [
        (config.temperature != 1.0, Temperature(config.temperature)),
        (config.top_h is not None, TopH(config.top_h or 1.0)),
        (config.top_k > 0, TopK(config.top_k, keep)),
        (config.top_p < 1.0, TopP(config.top_p, keep)),
        (config.min_p is not None, MinP(config.min_p or 0.0, keep)),
        (config.typical_p < 1.0, Typical(config.typical_p, keep)),
        (config.epsilon_cutoff > 0.0, Epsilon(config.epsilon_cutoff, keep)),
        (config.eta_cutoff > 0.0, Eta(config.eta_cutoff, keep)),
    ]
    return [processor for wanted, processor in possible if wanted]
