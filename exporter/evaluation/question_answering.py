"""Exact match and F1 of answers (SQuAD's), with questions that have none where the data has such.

transformers 5 has no pipeline for it: the source's answers are made from torch's logits over the same windows and by
the same choice of spans as the runtime's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exporter.evaluation.base import BATCH, Evaluator, Example, Sheet
from exporter.evaluation.columns import Role
from exporter.evaluation.metrics.squad import exact_match, f1
from exporter.loading import Checkpoint
from runtime.errors import InputError
from runtime.pipelines.answer_spans import best_spans

QUESTION = Role("question", ("query",))
CONTEXT = Role("context", ("passage", "paragraph", "document", "text"))
ANSWERS = Role("answers", ("answer", "gold", "label"))
LONGEST, STRIDE = 384, 128  # tokens of a window, and of the overlap: the pipeline's defaults
CANDIDATES, LONGEST_ANSWER = 12, 15


def examples(sheet: Sheet) -> list[Example]:
    """Question and context with the texts of all right answers."""
    return [
        Example(
            {"question": sheet.text(index, "question"), "context": sheet.text(index, "context")},
            golds(sheet, index),
        )
        for index in range(len(sheet))
    ]


def golds(sheet: Sheet, index: int) -> list[str]:
    """A text, a list of them, or SQuAD's `{"text": [...], "answer_start": [...]}`; none where there is no answer."""
    try:
        value = sheet.get(index, "answers")
    except InputError:
        if sheet.columns["answers"] not in sheet.table.rows[index]:
            raise
        return []
    value = value.get("text", []) if isinstance(value, dict) else value
    texts = value if isinstance(value, list) else [value]
    return [str(text) for text in texts if text != ""]


def may_be_impossible(questions: Sequence[Example]) -> bool:
    """Whether some question has no answer."""
    return any(not example.gold for example in questions)


def ask(pipe: Any, questions: Sequence[Example]) -> list[str]:
    """The bundle's best answers."""
    impossible = may_be_impossible(questions)
    return [str(pipe(example.inputs, handle_impossible_answer=impossible)["answer"]) for example in questions]


def ask_source(checkpoint: Checkpoint, questions: Sequence[Example]) -> list[str]:
    """The source's best answers."""
    impossible = may_be_impossible(questions)
    found: list[str] = []
    for cut in range(0, len(questions), BATCH):
        asked = [example.inputs for example in questions[cut : cut + BATCH]]
        encoded = windows(checkpoint, asked)
        start, end = logits_of(checkpoint, encoded)
        for number, question in enumerate(asked):
            own = [index for index, row in enumerate(encoded["overflow_to_sample_mapping"]) if row == number]
            answers = [answer_in(checkpoint, encoded, index, start[index], end[index], question) for index in own]
            found.append(best_answer(answers, impossible))
    return found


def windows(checkpoint: Checkpoint, asked: Sequence[dict[str, str]]) -> Any:
    """The pairs in windows that overlap, padded to one length."""
    pair = ("question", "context") if question_first(checkpoint) else ("context", "question")
    length = min(checkpoint.tokenizer.model_max_length, LONGEST)
    return checkpoint.tokenizer(
        *([question[name] for question in asked] for name in pair),
        padding=True,
        truncation="only_second" if question_first(checkpoint) else "only_first",
        max_length=length,
        stride=min(length // 2, STRIDE),
        return_overflowing_tokens=True,
    )


def question_first(checkpoint: Checkpoint) -> bool:
    """Except for tokenizers that pad on the left."""
    return bool(checkpoint.tokenizer.padding_side == "right")


def logits_of(checkpoint: Checkpoint, encoded: Any) -> tuple[np.ndarray, np.ndarray]:
    """Start and end logits `[windows, tokens]`."""
    import torch

    names = [name for name in checkpoint.tokenizer.model_input_names if name in encoded]
    feeds = {name: torch.tensor(encoded[name], device=checkpoint.model.device) for name in names}
    with torch.no_grad():
        output = checkpoint.model(**feeds)
    start, end = (output[name].float().cpu().numpy() for name in ("start_logits", "end_logits"))
    return start, end


def answer_in(
    checkpoint: Checkpoint, encoded: Any, window: int, start: np.ndarray, end: np.ndarray, question: dict[str, str]
) -> tuple[list[dict[str, Any]], float]:
    """The answers of one window with their scores, and the score of there being none."""
    text = int(question_first(checkpoint))
    inside = np.array([sequence == text for sequence in encoded.sequence_ids(window)])
    allowed = inside | (np.array(encoded["input_ids"][window]) == checkpoint.tokenizer.cls_token_id)
    spans = best_spans(start, end, allowed, CANDIDATES, LONGEST_ANSWER)
    answers = []
    for first, last, value in zip(spans.starts, spans.ends, spans.scores, strict=True):
        begin, stop = place(encoded, window, int(first), int(last), text)
        answers.append({"score": value, "start": begin, "end": stop, "answer": question["context"][begin:stop]})
    return answers, spans.null


def best_answer(found: Sequence[tuple[list[dict[str, Any]], float]], impossible: bool) -> str:
    """Over all windows; the scores of one text in several places add up, whatever its case."""
    scores: dict[str, float] = {}
    texts: dict[str, str] = {}
    for answer in (answer for answers, _ in found for answer in answers):
        key = answer["answer"].lower()
        texts.setdefault(key, answer["answer"])
        scores[key] = scores.get(key, 0.0) + answer["score"]
    if impossible:
        texts[""], scores[""] = "", min(null for _, null in found)
    return texts[max(scores, key=lambda key: scores[key])]


def place(encoded: Any, window: int, first: int, last: int, text: int) -> tuple[int, int]:
    """Characters of a span, widened to whole words."""
    words = [encoded.token_to_word(window, token) for token in (first, last)]
    if None in words:
        return encoded.token_to_chars(window, first).start, encoded.token_to_chars(window, last).end
    begin, end = (encoded.word_to_chars(window, word, text) for word in words)
    return begin.start, end.end


def score(answers: Sequence[Any], questions: Sequence[Example], _: Sequence[Any]) -> dict[str, float]:
    """Both of SQuAD's."""
    gold = [example.gold for example in questions]
    return {"exact match": exact_match(answers, gold), "F1": f1(answers, gold)}


QUESTION_ANSWERING = Evaluator((QUESTION, CONTEXT, ANSWERS), examples, ask_source, ask, score)
