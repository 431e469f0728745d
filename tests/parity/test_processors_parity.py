"""Every processor, alone and in composition, against transformers' own class, row by row on ragged histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from transformers import GenerationConfig as HFConfig
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation import logits_process as hf

from runtime.errors import InputError
from runtime.generation.config import resolve
from runtime.generation.processors import Rows, apply_processors, build_processors, repetition, tokens, warpers
from runtime.generation.processors import length as lengths
from runtime.generation.processors.bias import SequenceBias, bad_words

# Fixed examples: a threshold hit to the last bit is a matter of summation order, and would make the run a lottery.
CASES = settings(max_examples=60, deadline=None, derandomize=True)
VOCAB = 60
EOS = [2, 5]


def make_rows(seed: int, vocab: int = VOCAB, ids_below: int | None = None) -> tuple[Rows, np.ndarray]:
    """One to four rows with histories of 1 to 24 ids from a small set, and scores with some -inf in half the cases."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 5)
    histories = [rng.integers(0, ids_below or min(vocab, 9), rng.integers(1, 25)) for _ in range(count)]
    prompts = [int(rng.integers(1, len(history) + 1)) for history in histories]
    scores = (rng.normal(size=(count, vocab)) * rng.choice([0.5, 2, 8])).astype(np.float32)
    if seed % 2:
        scores[rng.random(scores.shape) < 0.2] = -np.inf
    return Rows(histories, prompts), scores


def hf_rowwise(make: Callable[[int, int, torch.Tensor], Any], rows: Rows, scores: np.ndarray) -> np.ndarray:
    """HF's processor, made anew for each row (history length, prompt length, prompt) and called on that row alone."""
    result = []
    for row in range(len(scores)):
        ids = torch.tensor(rows.history(row))[None]
        processor = make(ids.shape[1], rows.prompt_lengths[row], ids[:, : rows.prompt_lengths[row]])
        result.append(processor(ids, torch.tensor(scores[row : row + 1])).numpy())
    return np.concatenate(result)


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isneginf(ours), np.isneginf(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)


seeds = st.integers(0, 2**20)
keeps = st.integers(1, 4)

WARPERS = {
    "temperature": (st.floats(0.05, 5), lambda v, k: (warpers.Temperature(v), hf.TemperatureLogitsWarper(v))),
    "top_k": (st.integers(1, 80), lambda v, k: (warpers.TopK(v, k), hf.TopKLogitsWarper(v, min_tokens_to_keep=k))),
    "top_p": (st.floats(0.01, 1), lambda v, k: (warpers.TopP(v, k), hf.TopPLogitsWarper(v, min_tokens_to_keep=k))),
    # At exactly 1 the last token is in or out by the rounding of the sum, in HF too.
    "top_h": (st.floats(0.01, 0.99), lambda v, k: (warpers.TopH(v), hf.TopHLogitsWarper(v))),
    "min_p": (st.floats(0, 1), lambda v, k: (warpers.MinP(v, k), hf.MinPLogitsWarper(v, min_tokens_to_keep=k))),
    "typical_p": (
        st.floats(0.01, 0.99),
        lambda v, k: (warpers.Typical(v, k), hf.TypicalLogitsWarper(v, min_tokens_to_keep=k)),
    ),
    "epsilon": (
        st.floats(1e-4, 0.5),
        lambda v, k: (warpers.Epsilon(v, k), hf.EpsilonLogitsWarper(v, min_tokens_to_keep=k)),
    ),
    "eta": (st.floats(1e-4, 0.5), lambda v, k: (warpers.Eta(v, k), hf.EtaLogitsWarper(v, min_tokens_to_keep=k))),
}


@pytest.mark.parametrize("name", WARPERS)
@CASES
@given(data=st.data(), seed=seeds, keep=keeps, vocab=st.sampled_from([7, VOCAB, 230]))
def test_warper(name: str, data: st.DataObject, seed: int, keep: int, vocab: int) -> None:
    values, make = WARPERS[name]
    ours, theirs = make(data.draw(values), keep)
    rows, scores = make_rows(seed, vocab)
    expected = hf_rowwise(lambda *_: theirs, rows, scores)
    assert_same(apply_processors([ours], rows, scores), expected)


@CASES
@given(seed=seeds, top_p=st.floats(0.05, 0.999), keep=keeps, scale=st.sampled_from([0.3, 3.0, 6.0]))
def test_top_p_on_a_large_vocabulary(seed: int, top_p: float, keep: int, scale: float) -> None:
    """Large enough that only the head is sorted where it holds enough probability, and all where it does not."""
    scores = (np.random.default_rng(seed).normal(size=(1, 5000)) * scale).astype(np.float32)
    rows = Rows([np.zeros(1)], [1])
    expected = hf_rowwise(lambda *_: hf.TopPLogitsWarper(top_p, min_tokens_to_keep=keep), rows, scores)
    assert_same(apply_processors([warpers.TopP(top_p, keep)], rows, scores), expected)


@pytest.mark.parametrize("name", ["top_k", "top_p", "typical_p", "epsilon", "eta"])
@CASES
@given(data=st.data(), seed=seeds)
def test_warper_with_ties(name: str, data: st.DataObject, seed: int) -> None:
    values, make = WARPERS[name]
    ours, theirs = make(data.draw(values), 1)
    rows, scores = make_rows(seed, 20)
    scores = np.round(scores)
    # Sorted: which of the tied tokens top-p keeps depends on torch's unstable sort; how many and of which score not.
    ours_sorted = np.sort(apply_processors([ours], rows, scores), axis=1)
    assert_same(ours_sorted, np.sort(hf_rowwise(lambda *_: theirs, rows, scores), axis=1))


HISTORY = {
    "repetition_penalty": (
        st.floats(0.3, 3),
        lambda v: (repetition.RepetitionPenalty(v), lambda n, p, x: hf.RepetitionPenaltyLogitsProcessor(v)),
    ),
    "encoder_repetition_penalty": (
        st.floats(0.3, 3),
        lambda v: (
            repetition.EncoderRepetitionPenalty(v),
            lambda n, p, x: hf.EncoderRepetitionPenaltyLogitsProcessor(v, x),
        ),
    ),
    "no_repeat_ngram": (
        st.integers(1, 5),
        lambda v: (repetition.NoRepeatNGram(v), lambda n, p, x: hf.NoRepeatNGramLogitsProcessor(v)),
    ),
    "encoder_no_repeat_ngram": (
        st.integers(1, 5),
        lambda v: (repetition.EncoderNoRepeatNGram(v), lambda n, p, x: hf.EncoderNoRepeatNGramLogitsProcessor(v, x)),
    ),
    "min_length": (
        st.integers(0, 30),
        lambda v: (lengths.MinLength(lambda p: v, EOS, VOCAB), lambda n, p, x: hf.MinLengthLogitsProcessor(v, EOS)),
    ),
    "min_new_tokens": (
        st.integers(0, 20),
        lambda v: (
            lengths.MinLength(lambda p: p + v, EOS, VOCAB),
            lambda n, p, x: hf.MinNewTokensLengthLogitsProcessor(p, v, EOS),
        ),
    ),
    "forced_bos": (
        st.integers(0, VOCAB - 1),
        lambda v: (lengths.ForcedBOS(v), lambda n, p, x: hf.ForcedBOSTokenLogitsProcessor(v)),
    ),
    "forced_eos": (
        st.integers(1, 6),
        lambda v: (
            lengths.ForcedEOS(lambda p: p + v, EOS),
            lambda n, p, x: hf.ForcedEOSTokenLogitsProcessor(p + v, EOS),
        ),
    ),
    "exponential_decay": (
        st.tuples(st.integers(0, 8), st.floats(1, 1.5)),
        lambda v: (
            lengths.ExponentialDecayLengthPenalty(*v, EOS, VOCAB),
            lambda n, p, x: hf.ExponentialDecayLengthPenalty(v, EOS, p),
        ),
    ),
    "suppress": (
        st.lists(st.integers(-1, VOCAB + 5), min_size=1, max_size=8),
        lambda v: (tokens.SuppressTokens(v, VOCAB), lambda n, p, x: hf.SuppressTokensLogitsProcessor(v)),
    ),
    "begin_suppress": (
        st.lists(st.integers(-1, VOCAB + 5), min_size=1, max_size=8),
        lambda v: (
            tokens.SuppressTokensAtBegin(v, VOCAB, False),
            lambda n, p, x: hf.SuppressTokensAtBeginLogitsProcessor(v, p),
        ),
    ),
    "remove_invalid": (
        st.none(),
        lambda v: (tokens.remove_invalid_values, lambda n, p, x: hf.InfNanRemoveLogitsProcessor()),
    ),
    "renormalize": (st.none(), lambda v: (tokens.renormalize, lambda n, p, x: hf.LogitNormalization())),
}


@pytest.mark.parametrize("name", HISTORY)
@CASES
@given(data=st.data(), seed=seeds)
def test_processor(name: str, data: st.DataObject, seed: int) -> None:
    values, make = HISTORY[name]
    ours, theirs = make(data.draw(values))
    rows, scores = make_rows(seed)
    if name == "remove_invalid":
        scores[0, :2] = np.nan, np.inf
    assert_same(apply_processors([ours], rows, scores), hf_rowwise(theirs, rows, scores))


@CASES
@given(seed=seeds, penalty=st.floats(0.3, 3), size=st.integers(1, 3))
def test_ids_that_the_head_does_not_score(seed: int, penalty: float, size: int) -> None:
    """Some models embed more ids than they predict."""
    rows, scores = make_rows(seed, ids_below=VOCAB + 10)
    ours = [repetition.RepetitionPenalty(penalty), repetition.NoRepeatNGram(size)]
    middle = hf_rowwise(lambda *_: hf.RepetitionPenaltyLogitsProcessor(penalty), rows, scores)
    expected = hf_rowwise(lambda *_: hf.NoRepeatNGramLogitsProcessor(size), rows, middle)
    assert_same(apply_processors(ours, rows, scores), expected)


sequences = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=3), min_size=1, max_size=12)


@CASES
@given(seed=seeds, found=sequences)
def test_sequence_bias(seed: int, found: list[list[int]]) -> None:
    rows, scores = make_rows(seed)
    biases = [(sequence, float(place) - 4.5) for place, sequence in enumerate(found)]
    theirs = lambda *_: hf.SequenceBiasLogitsProcessor([list(pair) for pair in biases])  # noqa: E731
    assert_same(apply_processors([SequenceBias(biases, VOCAB)], rows, scores), hf_rowwise(theirs, rows, scores))


@CASES
@given(seed=seeds, words=sequences)
def test_bad_words(seed: int, words: list[list[int]]) -> None:
    words = [*words, [VOCAB - 1]]  # HF takes no list that is empty without the end-of-sequence tokens
    rows, scores = make_rows(seed)
    theirs = lambda *_: hf.NoBadWordsLogitsProcessor(words, EOS)  # noqa: E731
    ours = SequenceBias(bad_words(words, EOS), VOCAB)
    assert_same(apply_processors([ours], rows, scores), hf_rowwise(theirs, rows, scores))


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=8, n_layer=1, n_head=1)).eval()


def hf_processors(model: GPT2LMHeadModel, values: dict[str, Any], ids: torch.Tensor) -> hf.LogitsProcessorList:
    """The list that `generate` builds for these parameters and this prompt."""
    config, _ = model._prepare_generation_config(HFConfig(**values))
    model._prepare_special_tokens(config)
    config = model._prepare_generated_length(
        config, "max_length" not in values, "min_length" not in values, "input_ids", ids.shape[1], ids
    )
    return model._get_logits_processor(config, ids.shape[1], encoder_input_ids=ids, device="cpu", model_kwargs={})


def parameters() -> st.SearchStrategy[dict[str, Any]]:
    """Any mixture of all parameters that make a processor."""
    few = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=5)
    return st.fixed_dictionaries(
        {"eos_token_id": st.sampled_from([4, EOS]), "max_new_tokens": st.integers(21, 30)},
        optional={
            "min_new_tokens": st.integers(0, 20),
            "min_length": st.integers(0, 30),
            "do_sample": st.booleans(),
            "temperature": st.floats(0.2, 2),
            "top_k": st.integers(0, 40),
            "top_p": st.floats(0.1, 1),
            "min_p": st.floats(0, 0.5),
            "top_h": st.floats(0.2, 0.99),
            "typical_p": st.floats(0.2, 1),
            "epsilon_cutoff": st.floats(0, 0.1),
            "eta_cutoff": st.floats(0, 0.1),
            "num_beams": st.integers(1, 3),
            "repetition_penalty": st.floats(0.5, 2),
            "encoder_repetition_penalty": st.floats(0.5, 2),
            "no_repeat_ngram_size": st.integers(0, 3),
            "encoder_no_repeat_ngram_size": st.integers(0, 3),
            "sequence_bias": st.lists(st.tuples(few, st.floats(-3, 3)).map(list), min_size=1, max_size=4),
            "bad_words_ids": sequences,
            "forced_bos_token_id": st.integers(6, VOCAB - 1),
            "forced_eos_token_id": st.integers(6, VOCAB - 1),
            "remove_invalid_values": st.booleans(),
            "exponential_decay_length_penalty": st.tuples(st.integers(0, 8), st.floats(1, 1.3)),
            "suppress_tokens": st.lists(st.integers(0, 5), min_size=1, max_size=4),
            "begin_suppress_tokens": few,
            "renormalize_logits": st.booleans(),
        },
    )


@settings(max_examples=250, deadline=None, derandomize=True)
@given(values=parameters(), seed=seeds)
def test_composition(model: GPT2LMHeadModel, values: dict[str, Any], seed: int) -> None:
    """`resolve` and `build_processors` against the list that `generate` builds: same members, order and result."""
    words = values.get("bad_words_ids")
    if words and all(word in ([4], [2], [5]) for word in words):
        values["bad_words_ids"] = [*words, [7]]
    rows, scores = make_rows(seed)
    scores = scores.clip(-30, 30)
    ours = apply_processors(build_processors(resolve({}, **values), VOCAB), rows, scores)
    expected = []
    for row in range(len(scores)):
        ids = torch.tensor(rows.history(row))[None]
        chain = hf_processors(model, values, ids[:, : rows.prompt_lengths[row]])
        try:
            expected.append(chain(ids, torch.tensor(scores[row : row + 1])).numpy())
        except ValueError as error:  # torch refuses the distribution of a row that has no token left
            assert "Categorical" in str(error)
            reject()
    np.testing.assert_array_equal(np.isneginf(ours), np.isneginf(np.concatenate(expected)))
    np.testing.assert_allclose(ours, np.concatenate(expected), rtol=1e-5, atol=1e-5)


def test_plain_greedy_has_no_processors_and_copies_nothing() -> None:
    scores = np.zeros((1, VOCAB), np.float32)
    assert build_processors(resolve({"eos_token_id": 3}), VOCAB) == []
    assert apply_processors([], Rows([[1]], [1]), scores) is scores


def test_scores_of_the_caller_stay_as_they_were() -> None:
    rows, scores = make_rows(2)
    before = scores.copy()
    config = resolve({}, do_sample=True, temperature=0.5, top_k=3, repetition_penalty=1.3)
    after = apply_processors(build_processors(config, VOCAB), rows, scores)
    np.testing.assert_array_equal(scores, before)
    assert not np.array_equal(after, before)


@pytest.mark.parametrize(
    "values", [{"bad_words_ids": [[VOCAB]]}, {"forced_bos_token_id": VOCAB}, {"forced_eos_token_id": [1, -1]}]
)
def test_ids_outside_of_the_vocabulary_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not in the vocabulary of 60"):
        build_processors(resolve({}, **values), VOCAB)
