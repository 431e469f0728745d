"""question-answering (transformers 4.57 `pipelines/question_answering.py`; transformers 5 has no such pipeline).

Differences from HF, on purpose: unknown arguments are refused; `max_question_len`, which never had an effect with fast
tokenizers, is accepted and has none; texts padded on the left keep their positions (there they are shifted once more).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.pipelines.answer_spans import best_spans
from runtime.pipelines.base import is_stream
from runtime.pipelines.chunks import ChunkPipeline

PARTS = ("question", "context")
LONGEST_WINDOW, LONGEST_STRIDE = 384, 128
NO_NULL_SCORE = 1000000.0

Example = dict[str, str]
Answer = dict[str, Any]


class QuestionAnsweringPipeline(ChunkPipeline):
    """Finds the answer to a question in a text.

    `pipe(question="Who?", context="...")` -> `{"score", "start", "end", "answer"}`, a list with `top_k` above 1.
    Both may be lists; one context serves several questions. Dicts with both and lists of dicts are taken too.
    Long texts are read in windows of `max_seq_len` tokens that overlap by `doc_stride`. `handle_impossible_answer`
    allows "" for an answer; `align_to_words` widens answers to whole words.
    """

    task = "question-answering"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        examples = find_examples(args, {name: kwargs.pop(name) for name in (*PARTS, "X", "data") if name in kwargs})
        if isinstance(examples, list) and len(examples) == 1:
            return super().__call__(examples[0], **kwargs)
        return super().__call__(examples, **kwargs)

    def preprocess(  # type: ignore[override]
        self,
        inputs: Any,
        padding: bool | str = "do_not_pad",
        doc_stride: int | None = None,
        max_seq_len: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Tokenise question and context into one or several windows: int64 arrays `[1, tokens]`."""
        example = check_example(inputs)
        length = self._default_length() if max_seq_len is None else max_seq_len
        stride = min(length // 2, LONGEST_STRIDE) if doc_stride is None else doc_stride
        if stride > length:
            raise InputError(f"doc_stride {stride} is larger than max_seq_len {length}: windows must move forward")
        names = PARTS if self._question_first else PARTS[::-1]
        encoding = self.tokenizer(
            *(example[name] for name in names),
            padding=padding,
            truncation="only_second" if self._question_first else "only_first",
            max_length=length,
            stride=stride,
            return_token_type_ids=True,
            return_overflowing_tokens=True,
        )
        for window, row in enumerate(encoding["input_ids"]):
            self._check_length(row, "pass max_seq_len=...")
            columns = ("input_ids", "token_type_ids", "attention_mask")
            yield {
                "example": example,
                "is_last": window == len(encoding["input_ids"]) - 1,
                **self.tokenizer.pad([{name: encoding[name][window] for name in columns if name in encoding}]),
                "p_mask": self._outside(row, encoding.sequence_ids(window)),
                "encoding": encoding.encodings[window],
            }

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: list[dict[str, Any]],
        top_k: int = 1,
        handle_impossible_answer: bool = False,
        max_answer_len: int = 15,
        align_to_words: bool = True,
    ) -> Answer | list[Answer]:
        """Start and end logits float32 `[1, tokens]` of every window -> the best answers of all."""
        answers: list[Answer] = []
        null = NO_NULL_SCORE
        for output in model_outputs:
            allowed = output["p_mask"][0] == 0
            if "attention_mask" in output:
                allowed &= output["attention_mask"][0] == 1
            # Words may hold several candidates: more are looked at than are wanted.
            count = top_k * 2 + 10 if align_to_words else top_k
            spans = best_spans(output["start_logits"][0], output["end_logits"][0], allowed, count, max_answer_len)
            null = min(null, spans.null)
            for start, end, score in zip(spans.starts, spans.ends, spans.scores, strict=True):
                first, last = self._characters(output["encoding"], start, end, align_to_words)
                add_answer(answers, output["example"]["context"], first, last, score)
        if handle_impossible_answer:
            answers.append({"score": null, "start": 0, "end": 0, "answer": ""})
        best = sorted(answers, key=lambda answer: answer["score"], reverse=True)[:top_k]
        return best[0] if len(best) == 1 else best

    @property
    def _question_first(self) -> bool:
        return self.tokenizer.spec.padding_side == "right"

    def _sanitize_parameters(  # type: ignore[override]
        self,
        padding: bool | str | None = None,
        topk: int | None = None,
        top_k: int | None = None,
        doc_stride: int | None = None,
        max_answer_len: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        handle_impossible_answer: bool | None = None,
        align_to_words: bool | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if topk is not None and top_k is None:
            warnings.warn("topk is deprecated, use top_k instead", UserWarning, stacklevel=2)
            top_k = topk
        pre = {"padding": padding, "doc_stride": doc_stride, "max_seq_len": max_seq_len}
        post = {
            "top_k": check_positive("top_k", top_k),
            "max_answer_len": check_positive("max_answer_len", max_answer_len),
            "handle_impossible_answer": handle_impossible_answer,
            "align_to_words": align_to_words,
        }
        return given(pre), {}, given(post)

    def _default_length(self) -> int:
        limit = self.tokenizer.model_max_length or self.manifest.postprocess.get("max_positions") or LONGEST_WINDOW
        return min(int(limit), LONGEST_WINDOW)

    def _outside(self, ids: list[int], sequences: list[int | None]) -> np.ndarray:
        """1 for tokens that no answer may hold: int64 `[1, tokens]`. The class token stays, it stands for no answer."""
        context = 1 if self._question_first else 0
        mask = np.array([sequence != context for sequence in sequences], np.int64)
        if self.tokenizer.cls_token_id is not None:
            mask[np.array(ids) == self.tokenizer.cls_token_id] = 0
        return mask[None]

    def _characters(self, encoding: Any, start: int, end: int, align_to_words: bool) -> tuple[int, int]:
        """First character of a span of tokens in the context, and the one after its last."""
        text = 1 if self._question_first else 0
        words = [encoding.token_to_word(token) for token in (start, end)] if align_to_words else [None, None]
        # Tokens that belong to no word, and tokenizers without words, have only their offsets.
        spans = [None if word is None else encoding.word_to_chars(word, text) for word in words]
        if spans[0] is None or spans[1] is None:
            return encoding.offsets[start][0], encoding.offsets[end][1]
        return spans[0][0], spans[1][1]


def add_answer(answers: list[Answer], context: str, start: int, end: int, score: float) -> None:
    """Add an answer, or its score to that of the first one with the same text in whatever case."""
    text = context[start:end]
    same = next((answer for answer in answers if answer["answer"].lower() == text.lower()), None)
    if same:
        same["score"] += score
    else:
        answers.append({"score": score, "start": start, "end": end, "answer": text})


def find_examples(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """The examples among HF's many spellings: a list of dicts, or a generator or dataset as it is."""
    if args:
        inputs: Any = args[0] if len(args) == 1 else list(args)
        if len(args) == 2 and all(isinstance(arg, str) for arg in args):
            inputs = {"question": args[0], "context": args[1]}
    elif "X" in named or "data" in named:
        inputs = named.get("X", named.get("data"))
    elif set(named) == set(PARTS):
        inputs = named
    else:
        raise InputError("question-answering needs question=... and context=...")
    if is_stream(inputs):
        return inputs
    items = inputs if isinstance(inputs, list) else [inputs]
    if not items:
        raise InputError("question-answering needs at least one question")
    return [example for item in items for example in expand(item)]


def expand(item: Any) -> list[Any]:
    """Lists of questions in one item, each with its own context or all with the same."""
    if not isinstance(item, dict) or not isinstance(item.get("question"), list):
        return [item]
    questions, contexts = item["question"], item.get("context")
    if isinstance(contexts, str):
        contexts = [contexts] * len(questions)
    if not isinstance(contexts, list) or len(contexts) != len(questions):
        raise InputError(f"{len(questions)} questions need one context for all, or a list of {len(questions)} contexts")
    return [{"question": question, "context": context} for question, context in zip(questions, contexts, strict=True)]


def check_example(item: Any) -> Example:
    """A dict with two texts; HF's `SquadExample` is taken too. Raises `InputError` that names what is missing."""
    if hasattr(item, "question_text") and hasattr(item, "context_text"):
        item = {"question": item.question_text, "context": item.context_text}
    if not isinstance(item, dict) or not set(PARTS) <= set(item):
        raise InputError(f"a question is {{'question': ..., 'context': ...}}, not {str(item)[:40]!r}")
    for name in PARTS:
        if not isinstance(item[name], str):
            raise InputError(f"{name} must be a text, not {type(item[name]).__name__}")
        if not item[name]:
            raise InputError(f"{name} is empty: give a question and a text that may answer it")
    return {name: item[name] for name in PARTS}


def check_positive(name: str, value: Any) -> int | None:
    """None, or an int of 1 or more."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InputError(f"{name} must be 1 or more, not {value!r}")
    return value


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given."""
    return {key: value for key, value in arguments.items() if value is not None}
