"""Generation parameters: what is refused, in one line, and how lengths come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transformers import GenerationConfig as HFConfig

from runtime.errors import InputError
from runtime.generation.config import GenerationConfig, resolve
from runtime.generation.parameters import UNSUPPORTED

SAMPLING = {"do_sample": True}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temprature": 1.0}, "no generation parameter 'temprature'; did you mean temperature"),
        ({"max_tokens": 5}, "no generation parameter 'max_tokens'; did you mean max_new_tokens"),
        ({"xyzzy": 5}, "no generation parameter 'xyzzy'$"),
        ({"max_position_embeddings": 5}, "no generation parameter 'max_position_embeddings'"),
        ({"top_k": "ten"}, r"wrong type: Expected `int`, got `str` - at `\$.top_k`"),
        ({"do_sample": 1}, r"wrong type.*do_sample"),
        ({"early_stopping": "always"}, r"wrong type.*early_stopping"),
        ({"temperature": 0, **SAMPLING}, r"temperature must be above 0, but is 0\.0; for greedy pass do_sample=False"),
        ({"temperature": -1.0, **SAMPLING}, "temperature must be above 0"),
        ({"temperature": float("nan"), **SAMPLING}, "temperature must be above 0"),
        ({"top_p": 0.0, **SAMPLING}, r"top_p must be in \(0, 1\], but is 0\.0"),
        ({"top_p": 1.5, **SAMPLING}, r"top_p must be in \(0, 1\]"),
        ({"typical_p": 0.0, **SAMPLING}, "typical_p must be"),
        ({"top_k": -1, **SAMPLING}, "top_k must be"),
        ({"min_p": 1.1, **SAMPLING}, "min_p must be"),
        ({"top_h": 0.0, **SAMPLING}, "top_h must be"),
        ({"epsilon_cutoff": 1.0, **SAMPLING}, "epsilon_cutoff must be"),
        ({"eta_cutoff": -0.1, **SAMPLING}, "eta_cutoff must be"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, but is 0"),
        ({"max_length": -3}, "max_length must be at least 1"),
        ({"min_length": -1}, "min_length must be 0 or more"),
        ({"min_new_tokens": -1}, "min_new_tokens must be 0 or more"),
        ({"max_time": 0.0}, "max_time must be above 0"),
        ({"stop_strings": ["a", ""]}, "stop_strings must be strings that are not empty"),
        ({"num_beams": 0}, "num_beams must be at least 1"),
        ({"num_return_sequences": 2}, "needs do_sample=True or num_beams"),
        ({"num_return_sequences": 4, "num_beams": 3}, "num_return_sequences=4 is more than num_beams=3"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0"),
        ({"no_repeat_ngram_size": -2}, "no_repeat_ngram_size must be"),
        ({"bad_words_ids": []}, "bad_words_ids must be lists of token ids"),
        ({"bad_words_ids": [[]]}, "bad_words_ids must be lists of token ids"),
        ({"sequence_bias": [[[-1], 1.0]]}, "sequence_bias must be pairs"),
        ({"exponential_decay_length_penalty": (2, 1.1)}, "eos_token_id must be set for exponential"),
        ({"forced_eos_token_id": [3], "suppress_tokens": [3, 4]}, r"forced_eos_token_id \[3\] is also in suppress"),
        ({"forced_bos_token_id": 3, "suppress_tokens": [3, 4]}, r"forced_bos_token_id \[3\] is also in suppress"),
        ({"guidance_scale": 2.0}, r"guidance_scale=2\.0 is not supported"),
        ({"use_cache": False}, "use_cache=False is not supported"),
        ({"num_beam_groups": 2}, "num_beam_groups=2 is not supported"),
        ({"output_scores": True}, "output_scores=True is not supported"),
    ],
)
def test_refusals(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        resolve({}, **values)
    assert "\n" not in str(caught.value)


def test_every_parameter_of_transformers_is_either_implemented_or_refused() -> None:
    theirs = {name for name in vars(HFConfig()) if not name.startswith("_") and name != "transformers_version"}
    ours = set(GenerationConfig.__struct_fields__)
    assert theirs - ours - set(UNSUPPORTED) == set()
    assert ours & set(UNSUPPORTED) == set()
    assert ours - theirs == {"seed", "logprobs", "max_position_embeddings"}


def test_values_without_effect_pass_for_unsupported_parameters() -> None:
    config = resolve({}, use_cache=True, guidance_scale=1.0, watermarking_config=None, num_beam_groups=1)
    assert config == resolve({})


def test_global_defaults_are_those_of_transformers() -> None:
    config = resolve({})
    for name, value in HFConfig._get_default_generation_params().items():
        if name in GenerationConfig.__struct_fields__ and name != "max_length":
            assert getattr(config, name) == value, name
    assert config.max_total_length(7) == 7 + HFConfig._get_default_generation_params()["max_length"]


def test_sampling_parameters_are_not_judged_when_greedy() -> None:
    assert resolve({}, temperature=0.0, top_p=0.0).temperature == 0.0


def test_numbers_of_json_and_numpy() -> None:
    config = resolve({}, temperature=2, top_k=np.int64(3), eos_token_id=np.asarray([1, 2]), do_sample=np.True_)
    assert (config.temperature, config.top_k, config.eos_token_ids, config.do_sample) == (2.0, 3, (1, 2), True)
    assert isinstance(config.temperature, float)


def test_stop_strings() -> None:
    assert resolve({}, stop_strings="x").stop_strings == ["x"]
    assert resolve({}, stop_strings=["x", "y"]).stop_strings == ["x", "y"]
    assert resolve({"stop_strings": ["x"]}, stop_strings=[]).stop_strings is None


@pytest.mark.parametrize(
    ("defaults", "values", "longest", "shortest"),
    [
        ({}, {}, 30, 0),
        ({"max_position_embeddings": 25}, {}, 25, 0),
        ({"max_length": 50}, {}, 50, 0),
        ({"max_length": 50}, {"max_new_tokens": 7}, 17, 0),
        ({"max_new_tokens": 9}, {"max_length": 50}, 19, 0),
        ({"task_defaults": {"max_new_tokens": 9}}, {}, 19, 0),
        ({"task_defaults": {"max_new_tokens": 9}}, {"max_length": 50}, 50, 0),
        ({"task_defaults": {"max_new_tokens": 9}, "max_length": 50}, {}, 50, 0),
        ({"task_defaults": {"max_new_tokens": 9}}, {"max_new_tokens": None}, 30, 0),
        ({"min_length": 12}, {}, 30, 12),
        ({"min_length": 12}, {"min_new_tokens": 5}, 30, 15),
    ],
)
def test_lengths(defaults: dict[str, Any], values: dict[str, Any], longest: int, shortest: int) -> None:
    config = resolve(defaults, **values)
    assert (config.max_total_length(10), config.min_total_length(10)) == (longest, shortest)


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(InputError, match="the prompt has 9 tokens and the sequence may have 9"):
        resolve({}, max_length=9).max_total_length(9)


def test_task_defaults_for_sampling_apply_only_when_sampling() -> None:
    defaults = {"task_defaults": {"do_sample": True, "temperature": 0.7}}
    assert resolve(defaults).temperature == 0.7
    assert resolve(defaults, do_sample=False).temperature == 1.0
    assert resolve(defaults, temperature=0.9).temperature == 0.9


def test_pad_falls_back_to_the_first_end_of_sequence() -> None:
    assert resolve({"eos_token_id": [7, 8]}).pad_token_id == 7
    assert resolve({"eos_token_id": [7, 8], "pad_token_id": 0}).pad_token_id == 0
    assert resolve({}).pad_token_id is None
