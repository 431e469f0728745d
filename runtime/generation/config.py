"""Generation parameters: HF's names, meanings and defaults.

Source of the behaviour: transformers 5.23, `generation/configuration_utils.py` (names, global defaults, validation),
`generation/utils.py` (`_prepare_generation_config`, `_prepare_generated_length`, `_prepare_special_tokens`) and
`pipelines/base.py` (`_prepare_generate_kwargs`: which task defaults fill which gaps).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from runtime.errors import InputError
from runtime.generation.parameters import check_names, check_ranges, refuse_unsupported

DEFAULT_NEW_TOKENS = 20  # HF's max_length when nobody set one, counted after the prompt
TASK_DEFAULTS = "task_defaults"
SAMPLING_PARAMETERS = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"}
)
# What an explicit None of the user means where the field itself cannot be None: the parameter is off.
NEUTRAL: dict[str, Any] = {
    "min_length": 0,
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "length_penalty": 1.0,
    "early_stopping": False,
    "renormalize_logits": False,
    "remove_invalid_values": False,
}


class GenerationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one request, complete: nothing in here is still to be looked up elsewhere.

    Field names, units (tokens) and defaults are HF's `GenerationConfig` after `generate()` filled in its global
    defaults. Ours are `seed` (None draws a fresh one) and `logprobs` (how many alternatives to report with each token's
    log-probability; 0 or True: none, only the token's own; None or False: nothing). Make one with `resolve`.
    """

    # length
    max_length: int | None = None  # prompt included; None: 20 new tokens
    max_new_tokens: int | None = None
    min_length: int = 0  # prompt included
    min_new_tokens: int | None = None
    max_time: float | None = None  # seconds
    stop_strings: list[str] | None = None
    # strategy
    do_sample: bool = False
    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    seed: int | None = None
    # speculation
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    # what is told about the tokens
    logprobs: int | None = None
    # warpers, used when sampling
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    min_p: float | None = None
    top_h: float | None = None
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    # processors
    repetition_penalty: float = 1.0
    encoder_repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    sequence_bias: list[tuple[list[int], float]] | None = None
    bad_words_ids: list[list[int]] | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    remove_invalid_values: bool = False
    exponential_decay_length_penalty: tuple[int, float] | None = None
    renormalize_logits: bool = False
    # special tokens
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    # of the model, not of the request: caps HF's default length
    max_position_embeddings: int | None = None

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The end-of-sequence ids as a tuple, empty without any."""
        return _as_tuple(self.eos_token_id)

    @property
    def forced_eos_token_ids(self) -> tuple[int, ...]:
        """The ids of `forced_eos_token_id` as a tuple, empty without any."""
        return _as_tuple(self.forced_eos_token_id)

    def max_total_length(self, prompt_length: int) -> int:
        """Most tokens a sequence may have, its prompt of `prompt_length` tokens included.

        `max_new_tokens` goes before `max_length`; with neither it is the prompt and 20 tokens, at most the model's
        positions. For encoder-decoders the prompt is the decoder's (usually 1 token). Raises `InputError` when no
        token could be generated.
        """
        if self.max_new_tokens is not None:
            return prompt_length + self.max_new_tokens
        total = self.max_length if self.max_length is not None else self._default_length(prompt_length)
        if prompt_length >= total:
            raise InputError(
                f"the prompt has {prompt_length} tokens and the sequence may have {total}: "
                "shorten the prompt, raise max_length, or better set max_new_tokens"
            )
        return total

    def min_total_length(self, prompt_length: int) -> int:
        """Fewest tokens of a sequence before it may end, prompt included; `min_new_tokens` goes before `min_length`."""
        return self.min_length if self.min_new_tokens is None else prompt_length + self.min_new_tokens

    def _default_length(self, prompt_length: int) -> int:
        total = prompt_length + DEFAULT_NEW_TOKENS
        return total if self.max_position_embeddings is None else min(total, self.max_position_embeddings)


def resolve(defaults: dict[str, Any], **kwargs: Any) -> GenerationConfig:
    """The parameters of a request: `kwargs` of the user over `defaults` over HF's global defaults.

    `defaults` is the manifest's `generation`: the checkpoint's parameters and, under "task_defaults", what HF's
    pipeline for the task fills into gaps that neither the user nor the checkpoint filled (its max_new_tokens also
    gives way to a max_length). None in `defaults` means unset; None in `kwargs` switches a parameter off, as in HF.
    Integers pass for floats. Raises `InputError` for unknown or unsupported names, wrong types and values out of range.
    """
    check_names(kwargs, _SETTABLE)
    merged = {key: value for key, value in defaults.items() if value is not None and not _is_metadata(key)}
    merged.update(kwargs)
    merged = _with_task_defaults(merged, defaults.get(TASK_DEFAULTS) or {})
    check_names(merged, _NAMES)
    refuse_unsupported(merged)
    config = _convert({key: _plain(key, value) for key, value in merged.items() if key in _NAMES})
    check_ranges(config)
    return config


def _with_task_defaults(values: dict[str, Any], task_defaults: dict[str, Any]) -> dict[str, Any]:
    """Fill the gaps of `values`; sampling parameters only when the outcome samples, as HF's pipelines do."""
    added = {key: value for key, value in task_defaults.items() if key not in values}
    if "max_length" in values:
        added.pop("max_new_tokens", None)
    if not {**added, **values}.get("do_sample"):
        added = {key: value for key, value in added.items() if key not in SAMPLING_PARAMETERS}
    return {**values, **added}


def _plain(name: str, value: Any) -> Any:
    """`value` as the struct takes it: numpy to Python, one stop string to a list, HF's dict of biases to pairs."""
    if value is None:
        return NEUTRAL.get(name)
    value = value.tolist() if hasattr(value, "tolist") else value
    if name == "logprobs" and isinstance(value, bool):
        return 0 if value else None
    if name == "stop_strings":
        return [value] if isinstance(value, str) else value or None
    if name == "sequence_bias" and isinstance(value, dict):
        return [(list(sequence), bias) for sequence, bias in value.items()]
    return value


def _convert(values: dict[str, Any]) -> GenerationConfig:
    try:
        config = msgspec.convert(values, GenerationConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"generation parameter of a wrong type: {error}") from error
    if config.pad_token_id is None and config.eos_token_ids:
        config = msgspec.structs.replace(config, pad_token_id=config.eos_token_ids[0])
    if config.decoder_start_token_id is None:
        config = msgspec.structs.replace(config, decoder_start_token_id=config.bos_token_id)
    return config


def _is_metadata(name: str) -> bool:
    """Keys that HF writes into generation_config.json about the file itself, and ours that are no parameters."""
    return name.startswith("_") or name in ("transformers_version", TASK_DEFAULTS)


def _as_tuple(ids: int | list[int] | None) -> tuple[int, ...]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)


_NAMES = frozenset(GenerationConfig.__struct_fields__)
_SETTABLE = _NAMES - {"max_position_embeddings"}
