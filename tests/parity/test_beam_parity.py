"""Beam search against `generate(num_beams=...)` of tiny random models: tokens, scores, every setting that steers it."""

from __future__ import annotations

from itertools import cycle, product
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from runtime.generation.beam import BeamSearch
from runtime.generation.config import resolve
from runtime.generation.logits import top_indices

VOCAB = 24
PAD, EOS = 1, 2
DECODER_START = 3
SIZES = {"vocab_size": VOCAB, "pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": 0}


def build(name: str) -> PreTrainedModel:
    """A random model in float64, so that cached and uncached forwards agree to the last bit of their float32 logits."""
    torch.manual_seed(3)
    small = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 16, "d_kv": 8}
    bart = {
        f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 1), ("attention_heads", 2))
    }
    makers = {
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=64, **SIZES)),
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, **SIZES)
        ),
        "t5": lambda: T5ForConditionalGeneration(T5Config(decoder_start_token_id=DECODER_START, **small, **SIZES)),
        "bart": lambda: BartForConditionalGeneration(
            BartConfig(d_model=16, decoder_start_token_id=DECODER_START, **bart, **SIZES, forced_eos_token_id=None)
        ),
    }
    model = makers[name]().double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return model


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def decoder(request: pytest.FixtureRequest) -> PreTrainedModel:
    return build(request.param)


@pytest.fixture(scope="module", params=["t5", "bart"])
def seq2seq(request: pytest.FixtureRequest) -> PreTrainedModel:
    return build(request.param)


def search(model: PreTrainedModel, prompt: list[int], values: dict[str, Any], **inputs: Any) -> BeamSearch:
    """Drive a `BeamSearch` with the model's logits, checking that tokens and beam indices tell the whole story."""
    beams = BeamSearch(resolve({}, **values), prompt, VOCAB, source_ids=inputs.pop("source", None))
    followed = np.asarray([prompt] * beams.beams)
    done, first = False, True
    while not done:
        logits = logits_of(model, followed[:1] if first else followed, inputs)
        tokens, origins, done = beams.step(logits)
        followed = np.concatenate([followed[origins], tokens[:, None]], axis=1)
        np.testing.assert_array_equal(followed, beams.sequences)
        first = False
    return beams


@torch.no_grad()
def logits_of(model: PreTrainedModel, ids: np.ndarray, inputs: dict[str, Any]) -> np.ndarray:
    if model.config.is_encoder_decoder:
        source = {key: value.repeat(len(ids), 1) for key, value in inputs.items()}
        return model(decoder_input_ids=torch.tensor(ids), **source).logits[:, -1].float().numpy()
    return model(torch.tensor(ids)).logits[:, -1].float().numpy()


def assert_generates_the_same(ours: list[BeamSearch], theirs: Any, prompt_length: int) -> None:
    """Same tokens and scores; HF's rows may be padded on both sides."""
    generated = [ids for beams in ours for ids in beams.generated()]
    assert len(generated) == len(theirs.sequences)
    for ids, row in zip(generated, theirs.sequences[:, prompt_length:].tolist(), strict=True):
        assert row == ids + [PAD] * (len(row) - len(ids))
    scores = [score for beams in ours for score in beams.scores()]
    np.testing.assert_allclose(scores, theirs.sequences_scores, rtol=1e-5, atol=1e-5)


def hf_generate(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, values: dict[str, Any]) -> Any:
    return model.generate(ids, attention_mask=mask, return_dict_in_generate=True, output_scores=True, **values)


BASE = {"pad_token_id": PAD, "eos_token_id": EOS, "max_new_tokens": 10, "num_beams": 3}
COUNTS = [(2, 1), (4, 4), (5, 2), (3, 3)]  # num_beams, num_return_sequences
GRID = [
    {"early_stopping": stop, "length_penalty": penalty, "num_beams": beams, "num_return_sequences": returned}
    for (stop, penalty), (beams, returned) in zip(
        product([False, True, "never"], [1.0, 0.0, 2.0, -1.5, 0.7]), cycle(COUNTS), strict=False
    )
]
SETTINGS = [
    {"eos_token_id": [2, 4, 5, 6, 7, 8]},
    {"eos_token_id": [2, 4, 5, 6, 7, 8], "early_stopping": True, "num_return_sequences": 3},
    {"eos_token_id": None},
    # The best continuations of every beam are ends; longer sequences win all the same.
    {"eos_token_id": [*range(2, 9)], "sequence_bias": [[[i], 9.0] for i in range(2, 9)], "length_penalty": 6.0},
    {"min_new_tokens": 6},
    {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
    {"suppress_tokens": [4, 5], "renormalize_logits": True},
    {"bad_words_ids": [[6, 7], [9]], "num_beams": 6},
    {"forced_eos_token_id": EOS, "early_stopping": "never"},
    {"exponential_decay_length_penalty": (3, 1.3)},
    {"max_new_tokens": 1},
    {"max_length": 9, "max_new_tokens": None},
    {"encoder_no_repeat_ngram_size": 1},
]


def eos_bias(model: PreTrainedModel, often: bool) -> dict[str, Any]:
    return {"sequence_bias": [[[EOS], 3.0 if often else -1.0]]}


@pytest.mark.parametrize("often", [False, True], ids=["eos-rare", "eos-often"])
@pytest.mark.parametrize("values", GRID, ids=str)
def test_decoder_grid(decoder: PreTrainedModel, values: dict[str, Any], often: bool) -> None:
    values = {**BASE, **eos_bias(decoder, often), **values}
    prompts = torch.randint(9, VOCAB, (2, 5), generator=torch.Generator().manual_seed(1))
    theirs = hf_generate(decoder, prompts, torch.ones_like(prompts), values)
    ours = [search(decoder, prompt, values) for prompt in prompts.tolist()]
    assert_generates_the_same(ours, theirs, 5)


@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_decoder_settings(decoder: PreTrainedModel, values: dict[str, Any]) -> None:
    values = {**BASE, **values}
    prompts = torch.randint(9, VOCAB, (3, 4), generator=torch.Generator().manual_seed(2))
    theirs = hf_generate(decoder, prompts, torch.ones_like(prompts), values)
    ours = [search(decoder, prompt, values) for prompt in prompts.tolist()]
    assert_generates_the_same(ours, theirs, 4)


def random_setting(seed: int) -> dict[str, Any]:
    """Ends from rare to dominating, so that searches end by every rule there is."""
    rng = np.random.default_rng(seed)
    ends = rng.choice(np.arange(2, 9), rng.integers(1, 6), replace=False).tolist()
    beams = int(rng.integers(2, 7))
    return {
        "pad_token_id": PAD,
        "eos_token_id": ends,
        "sequence_bias": [[[end], float(rng.uniform(-1, 7))] for end in ends],
        "num_beams": beams,
        "num_return_sequences": int(rng.integers(1, beams + 1)),
        "max_new_tokens": int(rng.integers(1, 25)),
        "early_stopping": [False, True, "never"][seed % 3],
        "length_penalty": float(rng.choice([1.0, rng.normal(), 2 * rng.normal(), 3.0])),
        "renormalize_logits": bool(rng.integers(2)),
    }


@pytest.mark.parametrize("seed", range(90))
def test_decoder_at_random(decoder: PreTrainedModel, seed: int) -> None:
    values = random_setting(seed)
    prompt = torch.randint(9, VOCAB, (1, 3), generator=torch.Generator().manual_seed(seed))
    theirs = hf_generate(decoder, prompt, torch.ones_like(prompt), values)
    assert_generates_the_same([search(decoder, prompt[0].tolist(), values)], theirs, 3)


def test_prompts_of_different_lengths(decoder: PreTrainedModel) -> None:
    """HF pads on the left; here each prompt has its own length."""
    prompts = [[9, 10], [11, 12, 13, 14, 15, 16], [17, 18, 19]]
    ids = torch.tensor([[PAD] * (6 - len(prompt)) + prompt for prompt in prompts])
    mask = (ids != PAD).long()
    for penalty in (0.5, 2.0):
        values = {**BASE, **eos_bias(decoder, True), "length_penalty": penalty, "num_return_sequences": 2}
        theirs = hf_generate(decoder, ids, mask, values)
        assert_generates_the_same([search(decoder, prompt, values) for prompt in prompts], theirs, 6)


@pytest.mark.parametrize("values", [*GRID[::5], *SETTINGS], ids=str)
def test_encoder_decoder(seq2seq: PreTrainedModel, values: dict[str, Any]) -> None:
    values = {**BASE, **eos_bias(seq2seq, True), **values}
    sources = torch.randint(9, VOCAB, (2, 7), generator=torch.Generator().manual_seed(4))
    theirs = hf_generate(seq2seq, sources, torch.ones_like(sources), values)
    ours = [search(seq2seq, [DECODER_START], values, source=row.tolist(), input_ids=row[None]) for row in sources]
    assert_generates_the_same(ours, theirs, 1)


@pytest.mark.parametrize(
    "values", [{}, {"top_k": 4, "top_p": 0.9}, {"temperature": 2.0, "early_stopping": True}], ids=str
)
def test_beam_sampling(decoder: PreTrainedModel, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The bookkeeping of beam sampling, torch's draw replaced by ours: its random numbers cannot be had in numpy."""
    values = {"top_k": 0, **BASE, **eos_bias(decoder, True), **values, "do_sample": True}
    noise = np.random.Generator(np.random.Philox(np.random.SeedSequence(11)))

    def draw(probabilities: torch.Tensor, num_samples: int) -> torch.Tensor:
        quotients = probabilities[0].numpy() / noise.standard_exponential(probabilities.shape[1])
        return torch.tensor(top_indices(quotients.astype(np.float32), num_samples))[None]

    monkeypatch.setattr(torch, "multinomial", draw)
    prompt = torch.tensor([[9, 12, 20]])
    theirs = hf_generate(decoder, prompt, torch.ones_like(prompt), values)
    ours = search(decoder, prompt[0].tolist(), {**values, "seed": 11})
    assert_generates_the_same([ours], theirs, 3)
