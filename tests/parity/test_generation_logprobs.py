"""Log-probabilities against `compute_transition_scores(normalize_logits=True)` of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper

from runtime import pipeline
from runtime.errors import InputError

PROMPT = "The with statement is used to"
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 2e-4}


@pytest.fixture(scope="module")
def pipe(causal_lm_bundle: Path) -> Iterator[Any]:
    made = pipeline("text-generation", causal_lm_bundle, slots=4)
    yield made
    made.close()


@pytest.fixture(scope="module")
def model(causal_lm_checkpoint: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(causal_lm_checkpoint).eval()


@pytest.fixture(scope="module")
def prompt(causal_lm_checkpoint: Path) -> torch.Tensor:
    return AutoTokenizer.from_pretrained(causal_lm_checkpoint)(PROMPT, return_tensors="pt")["input_ids"]


def generate(model: Any, prompt: torch.Tensor, **options: Any) -> Any:
    with torch.no_grad():
        return model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )


OPTIONS: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.4},
    {"no_repeat_ngram_size": 2, "suppress_tokens": [5, 12, 14]},
    {"renormalize_logits": True, "min_new_tokens": 8},
    {"prompt_lookup_num_tokens": 4},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_greedy(pipe: Any, model: Any, prompt: torch.Tensor, options: dict[str, Any]) -> None:
    options = {"do_sample": False, "max_new_tokens": 12, **options}
    theirs = generate(model, prompt, **{k: v for k, v in options.items() if k != "prompt_lookup_num_tokens"})
    expected = model.compute_transition_scores(theirs.sequences, theirs.scores, normalize_logits=True)[0]
    record = pipe(PROMPT, logprobs=5, **options)[0]
    found = record["logprobs"]
    assert [one["token_id"] for one in found] == theirs.sequences[0, prompt.shape[1] :].tolist()
    np.testing.assert_allclose([one["logprob"] for one in found], expected, **CLOSE)
    for one, scores in zip(found, theirs.scores, strict=True):
        best = torch.log_softmax(scores[0], -1).topk(5)
        np.testing.assert_allclose([other["logprob"] for other in one["top"]], best.values, **CLOSE)
        assert {other["token_id"] for other in one["top"]} == set(best.indices.tolist())
        assert one["top"][0]["token"] == one["token"], "greedy takes the most probable one"
        assert one["token"] == pipe.tokenizer.decode([one["token_id"]])


@pytest.mark.parametrize(
    "options", [{"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 3, "repetition_penalty": 1.3}], ids=str
)
def test_beams(pipe: Any, model: Any, prompt: torch.Tensor, options: dict[str, Any]) -> None:
    options = {"do_sample": False, "max_new_tokens": 9, "eos_token_id": None, **options}
    theirs = generate(model, prompt, **options)
    log_probs = model.compute_transition_scores(
        theirs.sequences, theirs.scores, theirs.beam_indices, normalize_logits=False
    )
    found = pipe(PROMPT, logprobs=0, return_tensors=True, **options)
    for one, ids, expected in zip(found, theirs.sequences, log_probs, strict=True):
        assert one["generated_token_ids"] == ids.tolist()
        assert all(not token["top"] for token in one["logprobs"])
        if "repetition_penalty" not in options:  # transformers keeps the scores unnormalised behind processors
            np.testing.assert_allclose([token["logprob"] for token in one["logprobs"]], expected, **CLOSE)


def test_sampling_is_told_in_the_filtered_distribution(pipe: Any, model: Any, prompt: torch.Tensor) -> None:
    options = {"do_sample": True, "temperature": 0.7, "top_k": 20, "seed": 5, "max_new_tokens": 10}
    record = pipe(PROMPT, logprobs=25, return_tensors=True, **options)[0]
    with torch.no_grad():
        logits = model(torch.tensor([record["generated_token_ids"]])).logits[0, prompt.shape[1] - 1 : -1]
    warped = TopKLogitsWarper(20)(prompt, TemperatureLogitsWarper(0.7)(prompt, logits))
    expected = torch.log_softmax(warped, -1)
    for one, row in zip(record["logprobs"], expected, strict=True):
        np.testing.assert_allclose(one["logprob"], row[one["token_id"]], **CLOSE)
        assert np.isneginf([other["logprob"] for other in one["top"][20:]]).all()
        assert np.isclose(sum(np.exp(other["logprob"]) for other in one["top"]), 1, atol=1e-4)


def test_streams_tell_them_with_every_token(pipe: Any) -> None:
    options = {"do_sample": False, "max_new_tokens": 12}
    record = pipe(PROMPT, logprobs=2, return_full_text=False, **options)[0]
    stream = pipe.submit(PROMPT, logprobs=2, **options)
    events = list(stream.events())
    assert "".join(event.text for event in events) == record["generated_text"] == stream.text
    found = [event.logprobs for event in events if event.token is not None]
    assert [one.token for one in found] == [one["token_id"] for one in record["logprobs"]]
    np.testing.assert_allclose([one.logprob for one in found], [one["logprob"] for one in record["logprobs"]], **CLOSE)
    assert found == stream.logprobs


def test_nothing_unless_asked_for(pipe: Any) -> None:
    options = {"do_sample": False, "max_new_tokens": 3}
    assert list(pipe(PROMPT, **options)[0]) == ["generated_text"]
    assert list(pipe(PROMPT, logprobs=False, **options)[0]) == ["generated_text"]
    assert [one["top"] for one in pipe(PROMPT, logprobs=True, **options)[0]["logprobs"]] == [[]] * 3
    assert all(event.logprobs is None for event in pipe.submit(PROMPT, **options).events())
    with pytest.raises(InputError, match="logprobs must be 0"):
        pipe(PROMPT, logprobs=-1)


def test_several_prompts_and_samples(pipe: Any) -> None:
    """Rows of one step have their own, as if alone."""
    options = {"do_sample": True, "seed": 3, "max_new_tokens": 6, "logprobs": 1}
    alone = [pipe(text, **options)[0]["logprobs"] for text in (PROMPT, "a", "def f(")]
    together = pipe([PROMPT, "a", "def f("], batch_size=3, **options)
    for one, other in zip(alone, together, strict=True):
        found = other[0]["logprobs"]
        assert [token["token_id"] for token in found] == [token["token_id"] for token in one]
        np.testing.assert_allclose([t["logprob"] for t in found], [t["logprob"] for t in one], **CLOSE)
    assert [len(record["logprobs"]) for record in pipe(PROMPT, num_return_sequences=3, **options)] == [6] * 3
