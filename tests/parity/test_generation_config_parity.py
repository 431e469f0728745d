"""Resolution of generation parameters against transformers: its `generate`, and its text-generation pipeline."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig as HFConfig
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    TextGenerationPipeline,
)

from exporter.generation_config import resolve_generation
from runtime.errors import ExportError, InputError
from runtime.generation.config import NEUTRAL, GenerationConfig, resolve

POSITIONS = 48
OURS = {"seed", "logprobs", "max_position_embeddings"}
PLAIN_FIELDS = sorted(set(GenerationConfig.__struct_fields__) - OURS - {"max_length"})


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<pad>": 2, "<unk>": 3}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=1, n_positions=POSITIONS)).eval()


def effective(model: Any, kwargs: dict[str, Any], prompt_length: int) -> HFConfig:
    """The config that `model.generate(**kwargs)` arrives at, lengths prepared; the steps are those of `generate`."""
    config, _ = model._prepare_generation_config(None, **kwargs)
    model._prepare_special_tokens(config)
    unset = {
        name: kwargs.get(name) is None and getattr(model.generation_config, name) is None
        for name in ("max_length", "min_length")
    }
    ids = torch.zeros((1, prompt_length), dtype=torch.long)
    config = model._prepare_generated_length(
        config, unset["max_length"], unset["min_length"], "input_ids", prompt_length, ids
    )
    model._validate_generated_length(config, prompt_length, unset["max_length"])
    return config


def assert_same(ours: GenerationConfig, theirs: HFConfig, prompt_length: int) -> None:
    assert ours.max_total_length(prompt_length) == theirs.max_length
    assert ours.min_total_length(prompt_length) == (theirs.min_length or 0)
    pad = theirs._pad_token_tensor
    assert ours.pad_token_id == (None if pad is None else int(pad))
    for name in PLAIN_FIELDS:
        if name not in ("pad_token_id", "min_length", "decoder_start_token_id"):
            theirs_value = getattr(theirs, name)
            assert getattr(ours, name) == (NEUTRAL.get(name) if theirs_value is None else theirs_value), name


def chosen(*, user: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Parameters as a checkpoint or a user sets them; users may also say None where HF takes it."""
    off = (lambda values: st.none() | values) if user else (lambda values: values)
    return st.fixed_dictionaries(
        {},
        optional={
            "max_length": st.integers(12, 60),
            "max_new_tokens": off(st.integers(1, 30)),
            "min_length": st.integers(0, 9),
            "min_new_tokens": off(st.integers(0, 9)),
            "do_sample": off(st.booleans()),
            "temperature": off(st.floats(0.1, 2)),
            "top_k": off(st.integers(0, 99)),
            "top_p": off(st.floats(0.1, 1)),
            "min_p": off(st.floats(0, 1)),
            "typical_p": off(st.floats(0.1, 1)),
            "repetition_penalty": off(st.floats(0.5, 2)),
            "no_repeat_ngram_size": off(st.integers(0, 4)),
            "num_beams": st.integers(1, 4),
            "length_penalty": st.floats(-1, 2),
            "early_stopping": st.sampled_from([True, False, "never"]),
            "eos_token_id": off(st.sampled_from([3, [3, 4]])),
            "pad_token_id": off(st.integers(0, 4)),
            "suppress_tokens": off(st.just([5, 6])),
            "renormalize_logits": off(st.booleans()),
        },
    )


prompt_lengths = st.integers(1, 11)
MANY = settings(max_examples=200, deadline=None, derandomize=True)


@MANY
@given(checkpoint=chosen(user=False), user=chosen(user=True), prompt_length=prompt_lengths)
def test_generate(model: GPT2LMHeadModel, checkpoint: dict[str, Any], user: dict[str, Any], prompt_length: int) -> None:
    """Without a task: `resolve(resolve_generation(...), **user)` is what `generate(**user)` arrives at."""
    model.generation_config = HFConfig(**checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = effective(model, user, prompt_length)
    assert_same(resolve(resolve_generation(model, None, "no-such-task"), **user), theirs, prompt_length)


@MANY
@given(checkpoint=chosen(user=False), user=chosen(user=True), prompt_length=prompt_lengths)
def test_text_generation_pipeline(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    checkpoint: dict[str, Any],
    user: dict[str, Any],
    prompt_length: int,
) -> None:
    """With the task's defaults: the pipeline's kwargs, given to `generate`."""
    model.generation_config = HFConfig(**checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = TextGenerationPipeline(model, tokenizer, device="cpu")
        theirs = effective(model, pipe._prepare_generate_kwargs(user), prompt_length)
    assert_same(resolve(resolve_generation(model, tokenizer, "text-generation"), **user), theirs, prompt_length)


def test_the_default_length_ends_at_the_models_positions(model: GPT2LMHeadModel) -> None:
    model.generation_config = HFConfig()
    ours = resolve(resolve_generation(model, None, "no-such-task"))
    for prompt_length in (1, 30, POSITIONS - 1):
        assert ours.max_total_length(prompt_length) == effective(model, {}, prompt_length).max_length
    with pytest.raises(ValueError, match="max_length"):
        effective(model, {}, POSITIONS)
    with pytest.raises(InputError, match="48 tokens and the sequence may have 48"):
        ours.max_total_length(POSITIONS)


def test_the_manifest_holds_the_checkpoint_and_the_task_apart(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    model.generation_config = HFConfig(
        eos_token_id=[3, 4], top_k=7, use_cache=False, chat_format="x", num_beam_groups=1
    )
    assert resolve_generation(model, tokenizer, "text-generation") == {
        "eos_token_id": [3, 4],
        "top_k": 7,
        "pad_token_id": 2,
        "max_position_embeddings": POSITIONS,
        "task_defaults": {"max_new_tokens": 256, "do_sample": True, "temperature": 0.7},
    }


def test_what_changes_tokens_and_is_not_implemented_is_refused_at_the_request(model: GPT2LMHeadModel) -> None:
    model.generation_config = HFConfig(guidance_scale=1.5)
    values = resolve_generation(model, None, "text-generation")
    with pytest.raises(InputError, match=r"guidance_scale=1\.5 is not supported"):
        resolve(values)
    assert resolve(values, guidance_scale=None).do_sample


def test_pairs_and_tuples_become_json(model: GPT2LMHeadModel) -> None:
    model.generation_config = HFConfig(
        sequence_bias={(1, 2): -1.5}, exponential_decay_length_penalty=(3, 1.1), eos_token_id=3
    )
    values = resolve_generation(model, None, "no-such-task")
    assert values["sequence_bias"] == [[[1, 2], -1.5]]
    assert resolve(values).exponential_decay_length_penalty == (3, 1.1)
    assert resolve({}, sequence_bias={(1, 2): -1.5}) == resolve({}, sequence_bias=[[[1, 2], -1.5]])


def test_encoder_decoder_start_falls_back_to_bos() -> None:
    config = T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    model = T5ForConditionalGeneration(config)
    for given_ids, expected in (({"decoder_start_token_id": 7, "bos_token_id": 1}, 7), ({"bos_token_id": 1}, 1)):
        model.generation_config = HFConfig(**given_ids)
        theirs, _ = model._prepare_generation_config(None)
        model._prepare_special_tokens(theirs)
        assert resolve(resolve_generation(model, None, "x")).decoder_start_token_id == expected
        assert int(theirs._decoder_start_token_tensor) == expected


def test_a_model_that_cannot_generate_is_refused() -> None:
    class Encoder:
        generation_config = None

    with pytest.raises(ExportError, match="Encoder cannot generate text"):
        resolve_generation(Encoder(), None, "text-generation")
