"""text-generation against `transformers.pipeline`: greedy and beams, token by token, and every form of input."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from transformers import pipeline as hf_pipeline
from transformers.pipelines.pt_utils import KeyDataset
from transformers.pipelines.text_generation import ReturnType

from runtime import pipeline
from runtime.errors import InputError
from tests.device import MEMORIES, move_to_device

TASK = "text-generation"
WORDS = "The with statement is used to wrap the execution of a block with methods defined by a context manager. "
PROMPTS = {
    "sentence": WORDS.strip(),
    "one token": "a",
    "code": "def f(x):\n    return",
    "unicode": "naïve café 你好 👍🏽",
    "long": WORDS * 7,
}
SENTENCE, LONG = PROMPTS["sentence"], PROMPTS["long"]
# Ids of the checkpoint's vocabulary that it uses often.
NEWLINE, COMMA, PERIOD, THE, CLASS = 199, 12, 14, 261, 426
GREEDY: dict[str, Any] = {"do_sample": False, "max_new_tokens": 20}

TEMPLATE = """\
{%- for message in messages -%}
{{ message.role }}: {{ message.content }}
{% endfor -%}
{%- if add_generation_prompt %}assistant: {% endif -%}
"""
QUESTION = {"role": "user", "content": "What is a context manager?"}
SYSTEM = {"role": "system", "content": "You know Python."}
PREFILL = {"role": "assistant", "content": "A context manager is an object"}
CHATS = {"question": [QUESTION], "system": [SYSTEM, QUESTION], "prefill": [QUESTION, PREFILL]}


@pytest.fixture(scope="module")
def ours(causal_lm_bundle: Path) -> Iterator[Any]:
    pipe = pipeline(TASK, causal_lm_bundle)
    yield pipe
    pipe.close()


@pytest.fixture(scope="module", params=MEMORIES)
def anywhere(causal_lm_bundle: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """With keys and values in either kind of memory."""
    pipe = pipeline(TASK, causal_lm_bundle)
    yield move_to_device(pipe) if request.param == "device" else pipe
    pipe.close()


@pytest.fixture(scope="module")
def theirs(causal_lm_checkpoint: Path) -> Any:
    return partial(ask_hf, hf_pipeline(TASK, str(causal_lm_checkpoint), device=-1))


def ask_hf(pipe: Any, inputs: Any, **options: Any) -> Any:
    """HF's answer; its stop strings want the tokenizer again."""
    if "stop_strings" in options:
        options["tokenizer"] = pipe.tokenizer
    return pipe(inputs, **options)


@pytest.fixture(scope="module")
def chat_checkpoint(causal_lm_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with a chat template."""
    folder = shutil.copytree(causal_lm_checkpoint, tmp_path_factory.mktemp("chat") / "checkpoint")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def chat_pair(chat_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """(ours, HF's) of the checkpoint with a chat template."""
    from exporter import export

    pipe = pipeline(TASK, export(chat_checkpoint, task=TASK, output=tmp_path_factory.mktemp("chat_repository")))
    yield pipe, partial(ask_hf, hf_pipeline(TASK, str(chat_checkpoint), device=-1))
    pipe.close()


# ---- the same text


OPTIONS: list[dict[str, Any]] = [
    {},
    {"max_length": 180},
    {"max_new_tokens": 1},
    {"min_new_tokens": 20, "eos_token_id": PERIOD},
    {"return_full_text": False},
    {"return_full_text": True},
    {"return_text": True},
    {"return_tensors": True},
    {"return_tensors": False},  # HF only looks whether it was given
    {"return_type": ReturnType.NEW_TEXT},
    {"return_type": ReturnType.TENSORS, "return_text": True},
    {"repetition_penalty": 1.4},
    {"no_repeat_ngram_size": 2},
    {"bad_words_ids": [[PERIOD], [THE, CLASS]], "suppress_tokens": [COMMA]},
    {"begin_suppress_tokens": [NEWLINE, PERIOD]},
    {"sequence_bias": {(THE,): -10.0, (COMMA,): 3.0, (THE, CLASS): 2.0}},
    {"forced_eos_token_id": 0, "max_new_tokens": 5},
    {"eos_token_id": PERIOD},
    {"eos_token_id": [PERIOD, COMMA]},
    {"exponential_decay_length_penalty": (3, 1.5)},
    {"stop_sequence": "the"},
    {"stop_sequence": ["manager", "\n"]},
    {"stop_strings": ["th", "."]},
    {"stop_strings": ".", "return_full_text": False},
    {"skip_special_tokens": False},
    {"clean_up_tokenization_spaces": True},
    {"clean_up_tokenization_spaces": False},
    {"add_special_tokens": False},
    {"add_special_tokens": True},
    {"prefix": "Note: "},
    {"prefix": "Note: ", "max_length": 180, "min_length": 30},
    {"prefix": "Note: ", "return_full_text": False, "add_special_tokens": True},
    {"truncation": True},
    {"tokenizer_encode_kwargs": {"truncation": True, "max_length": 6}},
    {"handle_long_generation": "hole"},
    {"handle_long_generation": "hole", "max_new_tokens": 150},
    {"padding": True},
    {"num_beams": 3},
    {"num_beams": 4, "num_return_sequences": 3, "max_new_tokens": 8},
    {"num_beams": 2, "early_stopping": True, "length_penalty": 0.3, "no_repeat_ngram_size": 3},
    {"num_beams": 3, "stop_strings": ["the"], "return_full_text": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_greedy_and_beams(anywhere: Any, theirs: Any, options: dict[str, Any]) -> None:
    """A sentence, code and a long prompt, under every parameter."""
    options = {**(GREEDY if "max_length" not in options else {"do_sample": False}), **options}
    for prompt in (PROMPTS["code"], SENTENCE, LONG):
        assert anywhere(prompt, **options) == theirs(prompt, **options)


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_every_prompt_to_the_end_of_the_context(anywhere: Any, theirs: Any, prompt: str) -> None:
    options = {"do_sample": False, "max_length": 256}
    assert anywhere(prompt, **options) == theirs(prompt, **options)


def test_an_empty_prompt_starts_with_the_bos_token(ours: Any, theirs: Any) -> None:
    for options in ({}, {"return_tensors": True}, {"skip_special_tokens": False}, {"return_full_text": False}):
        assert ours("", **GREEDY, **options) == theirs("", **GREEDY, **options)


def test_beams_that_end_early_come_without_padding(anywhere: Any, theirs: Any) -> None:
    """HF fills the shorter of several sequences with the pad token; without it they are the same."""
    options = {
        **GREEDY,
        "num_beams": 4,
        "num_return_sequences": 4,
        "eos_token_id": [COMMA, THE, PERIOD],
        "return_tensors": True,
    }
    found = [record["generated_token_ids"] for record in anywhere(SENTENCE, **options)]
    expected = [record["generated_token_ids"] for record in theirs(SENTENCE, **options)]
    assert len({len(ids) for ids in found}) > 1, "the beams should end at different lengths"
    for ids, padded in zip(found, expected, strict=True):
        assert padded[: len(ids)] == ids
        assert len(set(padded[len(ids) :])) <= 1, "all that follows is padding"


# ---- forms of input


def test_lists(ours: Any, theirs: Any) -> None:
    """A list of lists, also for one prompt."""
    prompts = list(PROMPTS.values())
    assert ours(prompts, **GREEDY) == theirs(prompts, **GREEDY)
    assert ours([SENTENCE], **GREEDY) == theirs([SENTENCE], **GREEDY)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_batches_of_very_different_lengths(anywhere: Any, theirs: Any, batch_size: int) -> None:
    """Prompts of 1 to 150 tokens share steps, and each gets what it gets alone."""
    prompts = [*PROMPTS.values(), "", LONG[:200], "the"]
    found = anywhere(prompts, batch_size=batch_size, **GREEDY)
    assert found == theirs(prompts, **GREEDY)
    assert anywhere(prompts, batch_size=batch_size, num_beams=2, **GREEDY) == theirs(prompts, num_beams=2, **GREEDY)


def test_hf_in_batches_answers_the_same(ours: Any, theirs: Any) -> None:
    prompts = list(PROMPTS.values())
    assert ours(prompts, batch_size=3, **GREEDY) == theirs(prompts, batch_size=3, **GREEDY)


def test_generators_are_lazy(ours: Any, theirs: Any) -> None:
    read: list[str] = []

    def prompts() -> Iterator[str]:
        for prompt in PROMPTS.values():
            read.append(prompt)
            yield prompt

    answers = ours(prompts(), **GREEDY)
    first = next(answers)
    assert len(read) == 1
    assert [first, *answers] == list(theirs((prompt for prompt in PROMPTS.values()), **GREEDY))


def test_datasets(ours: Any, theirs: Any) -> None:
    rows = KeyDataset(Dataset.from_dict({"prompt": list(PROMPTS.values())}), "prompt")
    answers = ours(rows, batch_size=2, **GREEDY)
    assert len(answers) == len(PROMPTS)
    assert list(answers) == list(theirs(rows, **GREEDY))


def test_arguments_of_the_constructor(causal_lm_bundle: Path, causal_lm_checkpoint: Path) -> None:
    """They hold for every call, and the call's own go first."""
    options = {**GREEDY, "return_full_text": False, "prefix": "Note: ", "batch_size": 2}
    made, hf_made = pipeline(TASK, causal_lm_bundle, **options), hf_pipeline(TASK, str(causal_lm_checkpoint), **options)
    for call in ({}, {"max_new_tokens": 4}, {"return_full_text": True}, {"prefix": ""}):
        assert made([SENTENCE, "a"], **call) == hf_made([SENTENCE, "a"], **call)


def test_the_steps_one_by_one(ours: Any, theirs: Any) -> None:
    hf_pipe = theirs.args[0]
    prepared, hf_prepared = ours.preprocess(SENTENCE), hf_pipe.preprocess(SENTENCE)
    assert prepared["prompt_text"] == SENTENCE
    np.testing.assert_array_equal(prepared["input_ids"], hf_prepared["input_ids"].numpy())
    outputs, hf_outputs = ours.forward(prepared, **GREEDY), hf_pipe.forward(hf_prepared, **GREEDY)
    assert outputs["generated_sequence"] == hf_outputs["generated_sequence"][0].tolist()
    assert ours.postprocess(outputs) == ours(SENTENCE, **GREEDY) == hf_pipe.postprocess(hf_outputs)


# ---- chats


@pytest.mark.parametrize(
    "options",
    [{}, {"return_full_text": False}, {"return_tensors": True}, {"add_special_tokens": True}, {"num_beams": 2}],
    ids=str,
)
@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
def test_chats(chat_pair: tuple[Any, Any], chat: Any, options: dict[str, Any]) -> None:
    """One chat, a tuple of messages, a list and a tuple of chats, a generator of messages and one of chats."""
    ours, theirs = chat_pair
    options = {**GREEDY, **options}
    expected = theirs(chat, **options)
    assert ours(chat, **options) == expected
    assert ours(tuple(chat), **options) == expected
    assert ours((message for message in chat), **options) == expected
    several = [chat, CHATS["system"]]
    expected = theirs(several, **options)
    assert ours(several, **options) == ours(tuple(several), **options) == expected
    assert list(ours((item for item in several), **options)) == expected
    assert ours(several, batch_size=2, **options) == expected


@pytest.mark.parametrize("continued", [True, False])
def test_continue_final_message(chat_pair: tuple[Any, Any], continued: bool) -> None:
    ours, theirs = chat_pair
    for name, chat in CHATS.items():
        options = {**GREEDY, "continue_final_message": continued}
        assert ours(chat, **options) == theirs(chat, **options), name


def test_chats_leave_their_input_alone(chat_pair: tuple[Any, Any]) -> None:
    chat = [dict(message) for message in CHATS["prefill"]]
    chat_pair[0](chat, **GREEDY)
    assert chat == CHATS["prefill"]


def test_a_chat_without_a_template_is_refused(ours: Any) -> None:
    with pytest.raises(InputError, match="no chat template: this tokenizer has none"):
        ours(CHATS["question"], **GREEDY)


# ---- what is refused


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "text and full": ("a", {"return_text": True, "return_full_text": True}, "mutually exclusive"),
    "full and tensors": ("a", {"return_tensors": True, "return_full_text": True}, "mutually exclusive"),
    "text and tensors": ("a", {"return_tensors": True, "return_text": True}, "mutually exclusive"),
    "hole": ("a", {"handle_long_generation": "cut"}, "handle_long_generation is None or 'hole', not 'cut'"),
    "no room": (LONG, {"handle_long_generation": "hole", "max_new_tokens": 256}, "leave no room for a prompt"),
    "return type": ("a", {"return_type": "words"}, "return_type 'words' is unknown"),
    "unknown": ("a", {"max_tokens": 3}, "there is no generation parameter 'max_tokens'; did you mean"),
    "value": ("a", {"temperature": 0.0, "do_sample": True}, "temperature must be above 0"),
    "max_length": (SENTENCE, {"max_length": 3, "truncation": True, "max_new_tokens": None}, "the prompt has 3 tokens"),
    "too long": (LONG * 3, {}, "the model's context holds 256: shorten it"),
    "in a batch": (["a", LONG * 3], {"batch_size": 2}, "the model's context holds 256"),
    "tuple": (("a", "b"), {}, "not tuple"),
    "number": (3, {}, "text-generation takes a text or a chat, not int"),
    "item": (["a", 3], {"batch_size": 2}, "item 1: text-generation takes a text"),
    "empty list": ([], {}, "at least one prompt"),
    "message": ([QUESTION, "a"], {}, "a chat's messages are dicts with 'role' and 'content'"),
    "tokenizer": ("a", {"tokenizer_encode_kwargs": {"truncate": True}}, "did you mean 'truncation'?"),
    "greedy has one": ("a", {"num_return_sequences": 2}, "greedy has one answer"),
    "beams": ("a", {"num_beams": 2, "num_return_sequences": 3}, "more than num_beams"),
}


@pytest.mark.parametrize(("inputs", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(ours: Any, inputs: Any, options: dict[str, Any], message: str) -> None:
    """One line that is also a `ValueError`; the pipeline works on."""
    with pytest.raises(ValueError) as caught:
        ours(inputs, **{**GREEDY, **options})
    assert isinstance(caught.value, InputError)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not ours.model.engine.busy
    assert len(ours("a", **GREEDY)) == 1


def test_a_sequence_ends_at_the_context(anywhere: Any) -> None:
    """Where HF runs out of positions."""
    outputs = anywhere.forward(anywhere.preprocess(LONG), do_sample=False, max_new_tokens=1000, eos_token_id=-1)
    assert len(outputs["generated_sequence"][0]) == 256
    assert outputs["finish_reasons"] == ["length"]


# ---- sampling


def tokens(ours: Any, prompts: Any, **options: Any) -> Any:
    """New tokens of every prompt."""
    answers = ours(prompts, do_sample=True, max_new_tokens=16, return_tensors=True, **options)
    return [[record["generated_token_ids"] for record in answer] for answer in answers]


def test_the_default_samples(ours: Any) -> None:
    """As in HF: 256 new tokens, temperature 0.7, until told otherwise."""
    config = ours._config()
    assert (config.do_sample, config.temperature, config.max_new_tokens) == (True, 0.7, 256)
    assert len({ours(SENTENCE, max_new_tokens=16)[0]["generated_text"] for _ in range(5)}) > 1


def test_seeds(anywhere: Any) -> None:
    first = tokens(anywhere, [SENTENCE], seed=1)
    assert tokens(anywhere, [SENTENCE], seed=1) == first
    others = {str(tokens(anywhere, [SENTENCE], seed=seed)) for seed in range(2, 8)}
    assert len(others) == 6 and str(first) not in others


@pytest.mark.parametrize("options", [{}, {"num_return_sequences": 3}, {"num_beams": 2}], ids=str)
def test_rows_do_not_depend_on_the_batch(anywhere: Any, options: dict[str, Any]) -> None:
    """The same seed gives a prompt the same tokens alone, in a batch, and in another place of it."""
    prompts = [*PROMPTS.values()]
    together = tokens(anywhere, prompts, seed=3, batch_size=5, **options)
    assert together == [tokens(anywhere, [prompt], seed=3, **options)[0] for prompt in prompts]
    assert tokens(anywhere, prompts[::-1], seed=3, batch_size=2, **options) == together[::-1]


def test_returned_sequences_differ(anywhere: Any) -> None:
    answers = tokens(anywhere, [SENTENCE], seed=5, num_return_sequences=6, temperature=1.5)[0]
    assert len({str(ids) for ids in answers}) == 6


def test_sampling_with_one_token_left_is_greedy(ours: Any, theirs: Any) -> None:
    found = ours(SENTENCE, do_sample=True, top_k=1, max_new_tokens=20)
    assert found == theirs(SENTENCE, **GREEDY)
