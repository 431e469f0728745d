"""Prompt lookup: the candidates of transformers' generator, and the tokens of greedy search whatever they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.candidate_generator import PromptLookupCandidateGenerator

from runtime import pipeline
from runtime.errors import InputError
from runtime.generation.lookup import PromptLookup
from tests.device import MEMORIES, move_to_device

CODE = "import os\nimport sys\n\nimport os\nimport sys\n\nimport"
TEXTS = [CODE, "The with statement is used to wrap the execution of a block. The with statement is", "a", "naïve 你好"]


@given(
    ids=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    count=st.integers(1, 12),
    ngram=st.integers(1, 5),
    ends=st.lists(st.integers(0, 3), max_size=2),
    room=st.integers(1, 60),
)
def test_candidates(ids: list[int], count: int, ngram: int, ends: list[int], room: int) -> None:
    """As transformers' generator, without processors; `limit` is what its `max_length` leaves behind one token."""
    theirs = PromptLookupCandidateGenerator(
        eos_token_id=torch.tensor(ends) if ends else None,
        num_output_tokens=count,
        max_matching_ngram_size=ngram,
        max_length=10**6,
    )
    expected = theirs.get_candidates(torch.tensor([ids]))[0][0, len(ids) :].tolist()
    found = PromptLookup(count, ngram, ends).propose(np.asarray(ids), room).tolist()
    assert found == expected[:room]


@pytest.fixture(scope="module", params=MEMORIES)
def pipe(causal_lm_bundle: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    made = pipeline("text-generation", causal_lm_bundle, slots=4)
    yield move_to_device(made) if request.param == "device" else made
    made.close()


@pytest.fixture(scope="module")
def reference(causal_lm_checkpoint: Path) -> Any:
    """New ids by transformers' own prompt lookup."""
    model = AutoModelForCausalLM.from_pretrained(causal_lm_checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(causal_lm_checkpoint)

    def generate(text: str, **options: Any) -> list[int]:
        inputs = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            return model.generate(**inputs, do_sample=False, **options)[0].tolist()  # type: ignore[no-any-return]

    return generate


@pytest.mark.parametrize(("count", "ngram"), [(1, 1), (4, 2), (10, None), (25, 3)])
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:8]))
def test_greedy_tokens(pipe: Any, reference: Any, text: str, count: int, ngram: int | None) -> None:
    options: dict[str, Any] = {"max_new_tokens": 60, "prompt_lookup_num_tokens": count}
    if ngram is not None:
        options["max_matching_ngram_size"] = ngram
    found = pipe(text, do_sample=False, return_tensors=True, **options)[0]["generated_token_ids"]
    assert found == reference(text, **options)


def test_fewer_steps_where_text_repeats(pipe: Any) -> None:
    """Accepted tokens are steps that need not be run."""
    before = pipe.model.engine.statistics()
    pipe(CODE, do_sample=False, max_new_tokens=100, prompt_lookup_num_tokens=10, eos_token_id=None)
    after = pipe.model.engine.statistics()
    steps, accepted = after.decode_steps - before.decode_steps, after.accepted_tokens - before.accepted_tokens
    assert steps + accepted == 99, "one token comes from the prompt's run"
    assert accepted > 50
    assert after.drafted_tokens - before.drafted_tokens >= accepted


OPTIONS: list[dict[str, Any]] = [
    {"do_sample": True, "seed": 3, "temperature": 1.5},
    {"do_sample": True, "seed": 4, "temperature": 0.3, "top_k": 3},
    {"do_sample": False, "repetition_penalty": 1.2},
    {"do_sample": False, "no_repeat_ngram_size": 3},
    {"do_sample": False, "stop_strings": ["sys"]},
    {"do_sample": False, "eos_token_id": [198, 199, 200, 13, 12]},
    {"do_sample": False, "max_new_tokens": 7},
    {"do_sample": False, "max_new_tokens": 1},
    {"do_sample": False, "max_new_tokens": 400},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_speculation_changes_no_token(pipe: Any, options: dict[str, Any]) -> None:
    """Not when sampling either: the same seed draws the same tokens. Nor the reason of the end."""
    options = {"max_new_tokens": 60, **options}
    outputs = [
        pipe.forward(pipe.preprocess(text), **options, **more)
        for text in TEXTS[:2]
        for more in ({}, {"prompt_lookup_num_tokens": 8})
    ]
    for plain, guessed in zip(outputs[::2], outputs[1::2], strict=True):
        assert guessed["generated_sequence"] == plain["generated_sequence"]
        assert guessed["finish_reasons"] == plain["finish_reasons"]


def test_in_a_batch(pipe: Any) -> None:
    options = {"do_sample": False, "max_new_tokens": 30, "return_tensors": True}
    alone = [pipe(text, **options) for text in TEXTS]
    assert pipe(TEXTS, batch_size=4, prompt_lookup_num_tokens=5, **options) == alone


def test_what_is_refused(pipe: Any) -> None:
    with pytest.raises(InputError, match="prompt_lookup_num_tokens must be at least 1"):
        pipe("a", prompt_lookup_num_tokens=0)
    with pytest.raises(InputError, match="max_matching_ngram_size must be at least 1"):
        pipe("a", prompt_lookup_num_tokens=3, max_matching_ngram_size=0)
    with pytest.raises(InputError, match="prompt_lookup_num_tokens does not go with num_beams=2"):
        pipe("a", prompt_lookup_num_tokens=3, num_beams=2)
