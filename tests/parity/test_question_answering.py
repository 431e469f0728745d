"""question-answering against answers recorded with transformers 4.57: `tests/goldens/record_question_answering.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from runtime import pipeline
from runtime.errors import InputError
from tests.checkpoints.encoders import tiny_encoder
from tests.goldens.record_question_answering import GOLDENS, LONG, QUESTIONS, REFUSED, SHORT, calls
from tests.parity.answers import assert_same
from tests.text_bundles import TextBundles
from tests.torch_pipelines import torch_pipeline

RECORDED = json.loads(GOLDENS.read_text(encoding="utf-8"))
CALLS = list(zip(calls(), RECORDED["answers"], strict=True))
# Below this a span is noise: rounding decides which of thousands of equal ones are looked at.
NOISE = 1e-5


@pytest.fixture(scope="module")
def pipe(text_bundles: TextBundles) -> Any:
    return pipeline("question-answering", text_bundles("qa"))


def clear(answer: Any) -> Any:
    """Without answers that are noise, which only a list of several can hold."""
    if isinstance(answer, list):
        return [clear(one) for one in answer if not (isinstance(one, dict) and one["score"] < NOISE)]
    return answer


@pytest.mark.parametrize(("call", "expected"), CALLS, ids=range(len(CALLS)))
def test_recorded_answers(pipe: Any, call: dict[str, Any], expected: Any) -> None:
    found = json.loads(json.dumps(pipe(*call["args"], **call["kwargs"])))
    assert_same(clear(found), clear(expected))
    if isinstance(expected, list):
        assert len(found) == len(expected)


@pytest.mark.parametrize(("arguments", "error"), zip(REFUSED, RECORDED["refused"], strict=True), ids=str)
def test_what_is_refused(pipe: Any, arguments: tuple[list[Any], dict[str, Any]], error: str) -> None:
    """Always a `ValueError`; 4.57 has other exceptions for some."""
    assert error in ("ValueError", "KeyError", "TypeError", "AttributeError")
    with pytest.raises(ValueError, match="") as caught:
        pipe(*arguments[0], **arguments[1])
    assert isinstance(caught.value, InputError) and "\n" not in str(caught.value)


def test_unknown_arguments_are_refused(pipe: Any) -> None:
    with pytest.raises(ValueError, match="question-answering has no argument 'top_n': did you mean"):
        pipe(question="Who?", context=SHORT, top_n=3)


def test_a_bad_item_is_named(pipe: Any) -> None:
    good = {"question": "Who?", "context": SHORT}
    with pytest.raises(ValueError, match="item 1: context is empty"):
        pipe([good, {"question": "Who?", "context": ""}, good], batch_size=2)


def test_a_window_that_leaves_no_room_for_the_text(pipe: Any) -> None:
    with pytest.raises(ValueError, match=r"stride|too short"):
        pipe(question="Who lives there? " * 20, context=SHORT, max_seq_len=40, doc_stride=16)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_batches_of_windows_answer_as_single_ones(pipe: Any, batch_size: int) -> None:
    """`batch_size` counts windows, across the borders of questions."""
    pairs = [{"question": q, "context": c} for q, c in (*QUESTIONS.values(), *QUESTIONS.values())]
    options = {"max_seq_len": 48, "doc_stride": 8, "top_k": 2}
    expected = [pipe(pair, **options) for pair in pairs]
    assert_same(clear(pipe(pairs, batch_size=batch_size, **options)), clear(expected))
    stream = pipe((pair for pair in pairs), batch_size=batch_size, **options)
    assert isinstance(stream, Iterator)
    assert_same(clear(list(stream)), clear(expected))


def test_the_steps_one_by_one(pipe: Any) -> None:
    """preprocess yields windows, forward takes one, postprocess all of them."""
    windows = list(pipe.preprocess({"question": "Who?", "context": LONG}, max_seq_len=64))
    assert len(windows) > 3 and [w["is_last"] for w in windows] == [False] * (len(windows) - 1) + [True]
    answer = pipe.postprocess([pipe.forward(window) for window in windows])
    assert_same(answer, pipe(question="Who?", context=LONG, max_seq_len=64))
    assert LONG[answer["start"] : answer["end"]] == answer["answer"]


@pytest.mark.parametrize("model_type", ["roberta", "deberta-v2", "xlm-roberta"])
def test_other_tokenizers_against_every_span_scored_in_torch(model_type: str, tmp_path: Any) -> None:
    """Byte-level BPE and unigrams, with random weights: the validation's own reference, which shares no code."""
    from exporter.loading import load_checkpoint, load_config
    from exporter.source import resolve_source
    from exporter.tasks import resolve_task
    from exporter.validation.question_answering import EXAMPLES, best_answer

    torch.set_num_threads(1)
    folder = tiny_encoder("AutoModelForQuestionAnswering", model_type, tmp_path / "checkpoint")
    ours = torch_pipeline("question-answering", folder, tmp_path / "bundle")
    source = resolve_source(str(folder))
    checkpoint = load_checkpoint(source, resolve_task("question-answering", load_config(source), source))
    for question, context in EXAMPLES:
        assert_same(ours(question=question, context=context), best_answer(checkpoint, question, context))
