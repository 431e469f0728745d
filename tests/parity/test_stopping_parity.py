"""Stopping against transformers' criteria: stop strings with three kinds of tokenizer, and greedy `generate` itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.generation.stopping_criteria import StopStringCriteria

from runtime.generation.config import resolve
from runtime.generation.sampling import Sampler
from runtime.generation.stopping import Decode, Stopping, StopStrings

TEXT = [
    "stop, stopped, topping the operator; a stop stopper stops. Ends\nhere.\n\nUser: and then?",
    "naïve café — 你好,世界! 🎉🎉 zażółć gęślą jaźń",
    "def f(x):\n    return x  # done\n",
]
STOPS = ["stop", "op", "p", "\n\n", "User:", " stop", "é", "世界", "🎉", "🎉🎉", "ss", "aaa", "top st", "你"]
STOP_SETS = [("stop",), ("p", "User:"), ("\n\n", " stop"), ("é", "世界"), ("🎉🎉", "aaa"), ("top st", "ss", "你")]
MANY = settings(max_examples=200, deadline=None, derandomize=True)


def byte_level() -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, special_tokens=["<eos>"])
    backend.train_from_iterator(TEXT * 3, trainer)
    return backend


def byte_fallback() -> Tokenizer:
    """As in Llama: pieces with a mark for spaces, and a token for each byte that no piece has."""
    pieces = [
        "<unk>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "▁stop",
        "st",
        "op",
        "s",
        "t",
        "o",
        "p",
        "▁top",
    ]
    pieces += ["pp", "per", "\n", "\n\n", "User", ":", "a", "aa", "top", "n", "U", "ser"]
    backend = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, [], byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    return backend


def metaspace() -> Tokenizer:
    pieces = [
        "<unk>",
        "▁",
        "▁stop",
        "st",
        "op",
        "s",
        "t",
        "o",
        "p",
        "▁top",
        "pp",
        "per",
        "\n",
        "User",
        ":",
        *"abcdef",
        "aa",
    ]
    backend = Tokenizer(models.Unigram([(piece, -float(place)) for place, piece in enumerate(pieces)], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return backend


TOKENIZERS = {"byte-level": byte_level(), "byte-fallback": byte_fallback(), "metaspace": metaspace()}


def wrapped(backend: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def decoder(backend: Tokenizer) -> Decode:
    return lambda ids: backend.decode(ids, skip_special_tokens=False)


@st.composite
def sequences(draw: st.DrawFn, backend: Tokenizer, stops: Sequence[str]) -> list[int]:
    """Ids at random, around a stop string cut into tokens in one of many ways."""
    size = backend.get_vocab_size()
    start = draw(st.lists(st.integers(0, size - 1), min_size=8, max_size=20))
    pieces = split(draw, backend, draw(st.sampled_from(stops)))
    return start + pieces + draw(st.lists(st.integers(0, size - 1), max_size=2))


def split(draw: st.DrawFn, backend: Tokenizer, text: str) -> list[int]:
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)) | {0, len(text)})
    parts = [text[a:b] for a, b in pairwise(cuts)]
    return [i for part in parts for i in backend.encode(part, add_special_tokens=False).ids]


@pytest.mark.parametrize("name", TOKENIZERS)
@MANY
@given(data=st.data())
def test_stop_strings(name: str, data: st.DataObject) -> None:
    """At every step of a sequence the answer is HF's, up to the first stop, where generation ends.

    After it the two may differ: a later broken byte makes a run of byte tokens undecodable and a further one mends it,
    so that a string shows up again.
    """
    backend = TOKENIZERS[name]
    stops = data.draw(st.sampled_from(STOP_SETS))
    ids = data.draw(sequences(backend, stops))
    theirs = hf_criteria(name, stops)
    ours = StopStrings(stops, decoder(backend))
    for length in range(8, len(ids) + 1):
        expected = theirs is not None and bool(theirs(torch.tensor([ids[:length]]), None))
        assert ours(ids[:length]) == expected, (stops, length, ids)
        if expected:
            return


@cache
def hf_criteria(name: str, stops: tuple[str, ...]) -> StopStringCriteria | None:
    """HF's, or None where it refuses strings of which the vocabulary has no part; they never match here."""
    try:
        return StopStringCriteria(wrapped(TOKENIZERS[name]), list(stops))
    except ValueError as error:
        assert "unusual characters" in str(error)
        return None


def test_the_sequences_do_match_at_times() -> None:
    """Guards the test above against strategies that always or never complete a stop string."""
    decode = decoder(TOKENIZERS["byte-level"])
    matched = []

    @MANY
    @given(sequences(TOKENIZERS["byte-level"], STOPS))
    def count(ids: list[int]) -> None:
        matched.append(any(StopStrings(["stop", "User:"], decode)(ids[:n]) for n in range(9, len(ids) + 1)))

    count()
    assert 0.02 < np.mean(matched) < 0.9


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    size = TOKENIZERS["byte-level"].get_vocab_size()
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_embd=16, n_layer=1, n_head=1, n_positions=64, eos_token_id=None)
    )
    torch.nn.init.normal_(model.transformer.wte.weight)
    return model.double().eval()


@torch.no_grad()
def greedy(model: GPT2LMHeadModel, prompt: list[int], values: dict[str, Any]) -> tuple[list[int], str]:
    """Tokens and finish reason of this package's parts around the model's logits."""
    config = resolve({}, **values)
    sampler = Sampler(config, model.config.vocab_size)
    stopping = Stopping(config, len(prompt), decoder(TOKENIZERS["byte-level"]))
    ids, reason = list(prompt), None
    while reason is None:
        logits = model(torch.tensor([ids])).logits[:, -1].float().numpy()
        ids.append(int(sampler([np.asarray(ids)], [len(prompt)], logits)[0]))
        reason = stopping.reason(ids)
    return ids, reason


SETTINGS = [
    {},
    {"max_length": 17},
    {"max_new_tokens": 30},
    {"max_new_tokens": 30, "repetition_penalty": 1.5, "no_repeat_ngram_size": 3},
    {"max_new_tokens": 30, "eos_token_id": list(range(60))},
    {"max_new_tokens": 30, "eos_token_id": list(range(100)), "min_new_tokens": 9},
    {"max_new_tokens": 40, "repetition_penalty": 2.0, "stop_strings": ["e", "o", "st", "1", "a"]},
    {"max_new_tokens": 40, "repetition_penalty": 2.0, "stop_strings": "t"},
]


@pytest.mark.parametrize("values", SETTINGS, ids=lambda values: "-".join(values) or "defaults")
def test_greedy_generation(model: GPT2LMHeadModel, values: dict[str, Any]) -> None:
    tokenizer = wrapped(TOKENIZERS["byte-level"])
    for seed in range(4):
        prompt = np.random.default_rng(seed).integers(1, 300, 5 + seed).tolist()
        theirs = model.generate(torch.tensor([prompt]), tokenizer=tokenizer, **values)[0].tolist()
        ours, reason = greedy(model, prompt, values)
        assert ours == theirs
        limit = resolve({}, **values).max_total_length(len(prompt))
        assert (len(ours) == limit) or reason in ("stop", "stop_string")
