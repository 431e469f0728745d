"""What a generation parameter may be called and hold, and what is refused rather than ignored.

Ranges are those of HF's processors and `GenerationConfig.validate` (transformers 5.23). Where HF silently ignores a
value out of range (top_p > 1, a negative top_k when greedy ...), it is refused here when it would have been used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.generation.config import GenerationConfig

# HF's parameters that are not implemented -> the values that change nothing. None is always one of them.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "assistant_confidence_threshold": (0.4,),
    "assistant_early_exit": (),
    "assistant_ensemble_weight": (),
    "assistant_lookbehind": (10,),
    "cache_config": (),
    "cache_implementation": (),
    "compile_config": (),
    "constraints": (),
    "continuous_batching_config": (),
    "disable_compile": (False,),
    "diversity_penalty": (0.0,),
    "dola_layers": (),
    "force_words_ids": (),
    "guidance_scale": (1,),
    "is_assistant": (False,),
    "low_memory": (False,),
    "max_cache_len": (),
    "num_assistant_tokens": (20,),
    "num_assistant_tokens_schedule": ("constant",),
    "num_beam_groups": (1,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
    "output_logits": (False,),
    "output_scores": (False,),
    "penalty_alpha": (0.0,),
    "prefill_chunk_size": (),
    "return_dict_in_generate": (False,),
    "speculation_type": (),
    "target_lookbehind": (10,),
    "token_healing": (False,),
    "use_cache": (True,),
    "use_mtp": (False,),
    "watermarking_config": (),
}


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Raise `InputError` for the first name that is neither in `known` nor one of HF's unsupported ones."""
    for name in given:
        if name in known or name in UNSUPPORTED:
            continue
        close = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"there is no generation parameter {name!r}{hint}")


def refuse_unsupported(values: dict[str, Any]) -> None:
    """Raise `InputError` for a parameter of HF's that is not implemented and set to something that has an effect."""
    for name, value in values.items():
        if name in UNSUPPORTED and value is not None and value not in UNSUPPORTED[name]:
            raise InputError(f"generation parameter {name}={value!r} is not supported: leave it out")


def check_ranges(config: GenerationConfig) -> None:
    """Raise `InputError` for the first value out of its range."""
    _check_lengths(config)
    _check_counts(config)
    _check_processors(config)
    _check_forced(config)
    if config.do_sample:
        _check_warpers(config)


def _require(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise InputError(f"{name} must be {expected}, but is {value!r}")


def _check_lengths(c: GenerationConfig) -> None:
    _require(c.max_new_tokens is None or c.max_new_tokens > 0, "max_new_tokens", c.max_new_tokens, "at least 1")
    _require(c.max_length is None or c.max_length > 0, "max_length", c.max_length, "at least 1")
    _require(c.min_length >= 0, "min_length", c.min_length, "0 or more")
    _require(c.min_new_tokens is None or c.min_new_tokens >= 0, "min_new_tokens", c.min_new_tokens, "0 or more")
    _require(c.max_time is None or c.max_time > 0, "max_time", c.max_time, "above 0")
    _require(all(c.stop_strings or ["x"]), "stop_strings", c.stop_strings, "strings that are not empty")


def _check_counts(c: GenerationConfig) -> None:
    _require(c.num_beams >= 1, "num_beams", c.num_beams, "at least 1")
    _require(c.num_return_sequences >= 1, "num_return_sequences", c.num_return_sequences, "at least 1")
    _require(c.seed is None or c.seed >= 0, "seed", c.seed, "0 or more")
    _require(c.logprobs is None or c.logprobs >= 0, "logprobs", c.logprobs, "0 (the token's own alone) or more")
    for name in ("prompt_lookup_num_tokens", "max_matching_ngram_size"):
        count = getattr(c, name)
        _require(count is None or count > 0, name, count, "at least 1")
    _check_strategies(c)
    if c.num_beams == 1 and not c.do_sample and c.num_return_sequences > 1:
        raise InputError(
            f"num_return_sequences={c.num_return_sequences} needs do_sample=True or num_beams: greedy has one answer"
        )
    if 1 < c.num_beams < c.num_return_sequences:
        raise InputError(f"num_return_sequences={c.num_return_sequences} is more than num_beams={c.num_beams}")


def _check_strategies(c: GenerationConfig) -> None:
    """What beam search does not go together with."""
    if c.num_beams > 1 and c.prompt_lookup_num_tokens is not None:
        raise InputError(f"prompt_lookup_num_tokens does not go with num_beams={c.num_beams}: leave one of them out")


def _check_processors(c: GenerationConfig) -> None:
    for name in ("repetition_penalty", "encoder_repetition_penalty"):
        _require(getattr(c, name) > 0, name, getattr(c, name), "above 0")
    for name in ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"):
        _require(getattr(c, name) >= 0, name, getattr(c, name), "0 or more")
    words = c.bad_words_ids
    _require(words is None or _are_sequences(words), "bad_words_ids", words, "lists of token ids, none of them empty")
    biases = c.sequence_bias
    pairs_hold = biases is None or _are_sequences([sequence for sequence, _ in biases])
    _require(pairs_hold, "sequence_bias", biases, "pairs of token ids and a bias, none of them empty")
    decay = c.exponential_decay_length_penalty
    if decay is not None:
        _require(decay[1] > 0, "exponential_decay_length_penalty", decay, "a start and a factor above 0")
        _require(bool(c.eos_token_ids), "eos_token_id", None, "set for exponential_decay_length_penalty")


def _are_sequences(sequences: list[list[int]]) -> bool:
    return bool(sequences) and all(sequence and min(sequence) >= 0 for sequence in sequences)


def _check_forced(c: GenerationConfig) -> None:
    """HF's check that a token is not forced and suppressed at once, which would leave no token at all."""
    suppressed = set(c.suppress_tokens or ())
    bos = () if c.forced_bos_token_id is None else (c.forced_bos_token_id,)
    for name, forced in (("forced_bos_token_id", bos), ("forced_eos_token_id", c.forced_eos_token_ids)):
        if forced and suppressed.issuperset(forced):
            raise InputError(f"{name} {sorted(forced)} is also in suppress_tokens: no token would be left")


def _check_warpers(c: GenerationConfig) -> None:
    if not c.temperature > 0:
        raise InputError(f"temperature must be above 0, but is {c.temperature!r}; for greedy pass do_sample=False")
    _require(c.top_k >= 0, "top_k", c.top_k, "0 (off) or more")
    for name in ("top_p", "typical_p"):
        _require(0 < getattr(c, name) <= 1, name, getattr(c, name), "in (0, 1]")
    _require(c.min_p is None or 0 <= c.min_p <= 1, "min_p", c.min_p, "in [0, 1]")
    _require(c.top_h is None or 0 < c.top_h <= 1, "top_h", c.top_h, "in (0, 1]")
    for name in ("epsilon_cutoff", "eta_cutoff"):
        _require(0 <= getattr(c, name) < 1, name, getattr(c, name), "in [0, 1)")
