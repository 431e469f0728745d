"""Tasks whose pipeline takes text and a few arguments and answers with something that JSON can say.

Inputs `[n, 1]` make n items (`text`, or `question` and `context`); the other inputs are arguments of the pipeline, the
same in all rows of a request, and `options` has those without a tensor of their own as a JSON object. Output `json`
`[n, 1]`: the pipeline's answer for each item. Requests with equal arguments that arrive together run together, texts of
similar length in one batch.

The option "keep_padding" makes a request a batch of its own, whose answers have its padding as the local pipeline's
have with `batch_size` (feature-extraction); without it no answer depends on the other texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import triton_python_backend_utils as pb_utils

from runtime.errors import InputError, PipelineException
from runtime.triton.batching import BatchedModel
from runtime.triton.buckets import MOST, buckets, run_cost
from runtime.triton.cancellation import CancellationWatch
from runtime.triton.options import Tasks, read_options
from runtime.triton.settings import Settings
from runtime.triton.tensors import array, scalar, strings, texts

Kind = Literal["text", "texts", "number"]
KEEP_PADDING = "keep_padding"


@dataclass(frozen=True)
class TextTask:
    """How a task is asked. items: inputs that make an item, a dict of them where there are several; warm_up: an item
    and arguments for the first run."""

    arguments: dict[str, Kind]
    items: tuple[str, ...] = ("text",)
    warm_up: Callable[[Any], tuple[Any, dict[str, Any]]] = lambda pipe: ("warm up", {})


GENERATION: dict[str, Kind] = {"max_new_tokens": "number", "num_beams": "number"}


def first_translation(pipe: Any) -> tuple[Any, dict[str, Any]]:
    """A text and, where languages are tokens, two of them."""
    codes = list(pipe.manifest.postprocess.get("languages", {}))
    languages = {"src_lang": codes[0], "tgt_lang": codes[-1]} if codes else {}
    return "warm up", {"max_new_tokens": 2, **languages}


TEXT_TASKS = {
    "text2text-generation": TextTask(GENERATION, warm_up=lambda pipe: ("warm up", {"max_new_tokens": 2})),
    "summarization": TextTask(GENERATION, warm_up=lambda pipe: ("warm up", {"max_new_tokens": 2})),
    "translation": TextTask({**GENERATION, "src_lang": "text", "tgt_lang": "text"}, warm_up=first_translation),
    "token-classification": TextTask({"aggregation_strategy": "text", "ignore_labels": "texts", "stride": "number"}),
    "fill-mask": TextTask(
        {"top_k": "number", "targets": "texts"}, warm_up=lambda pipe: (str(pipe.tokenizer.mask_token), {})
    ),
    "question-answering": TextTask(
        {
            "top_k": "number",
            "doc_stride": "number",
            "max_answer_len": "number",
            "max_seq_len": "number",
            "handle_impossible_answer": "number",
            "align_to_words": "number",
        },
        items=("question", "context"),
        warm_up=lambda pipe: ({"question": "What?", "context": "warm up"}, {}),
    ),
    "zero-shot-classification": TextTask(
        {"candidate_labels": "texts", "hypothesis_template": "text", "multi_label": "number"},
        warm_up=lambda pipe: ("warm up", {"candidate_labels": ["cold"]}),
    ),
    "feature-extraction": TextTask({"truncation": "number"}),
    "sentence-similarity": TextTask({}),
}


@dataclass(frozen=True)
class Job:
    """One request, read. first: the place of its first item among all that its sender has, None for no list."""

    items: list[Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    first: int | None = None


class TextTaskModel(BatchedModel[Job, list[Any]]):
    """Answers batches of requests with the pipeline of one of `TEXT_TASKS`."""

    def __init__(self, pipe: Any, settings: Settings) -> None:
        super().__init__(pipe, settings)
        self._task = TEXT_TASKS[pipe.task]
        self._tasks = Tasks(pipe)
        item, arguments = self._task.warm_up(pipe)
        self._warm_up(item, arguments)

    def read(self, request: Any) -> Job:
        """A request's tensors as a job. Raises `InputError`."""
        items = read_items(request, self._task.items, self._settings.max_text_bytes)
        arguments = self._arguments(request)
        first = take_place(arguments)
        return Job(read_words(items, arguments), arguments, first)

    def run(self, jobs: list[Job]) -> list[list[Any]]:
        """Every group of jobs with equal arguments together."""
        groups: dict[str, list[int]] = {}
        for index, job in enumerate(jobs):
            own = str(index) if len(jobs) == 1 or KEEP_PADDING in job.arguments else ""
            groups.setdefault(own or json.dumps(job.arguments, sort_keys=True), []).append(index)
        answers: dict[int, list[Any]] = {}
        for members in groups.values():
            items = [item for index in members for item in jobs[index].items]
            found = iter(self._answers_to(items, [jobs[index] for index in members]))
            answers |= {index: [next(found) for _ in jobs[index].items] for index in members}
        return [answers[index] for index in range(len(jobs))]

    def respond(self, request: Any, answer: list[Any]) -> Any:
        """The outputs that were asked for."""
        wanted = set(request.requested_output_names())
        outputs = self.tensors(answer, wanted)
        if "json" in wanted:
            lines = [
                json.dumps(self.plain(one), ensure_ascii=False, default=lambda value: value.tolist()) for one in answer
            ]
            outputs.append(strings("json", lines, (len(answer), 1)))
        return pb_utils.InferenceResponse(outputs)

    def tensors(self, answer: list[Any], wanted: set[str]) -> list[Any]:
        """Outputs besides `json`."""
        return []

    def plain(self, one: Any) -> Any:
        """An item's answer as `json` gives it."""
        return one

    def ask(self, pipe: Any, items: list[Any], arguments: dict[str, Any]) -> list[Any]:
        """The answers to items that fit into one batch."""
        # From an iterator the pipeline gives one answer for each item; some unwrap lists of one.
        return list(pipe(iter(items), batch_size=len(items), **arguments))

    def _warm_up(self, item: Any, arguments: dict[str, Any]) -> None:
        """Run an item, and find out what a run costs beside its text. Generation is all steps: it is rarely split."""
        self.run([Job([item], arguments)])
        self._cost = MOST
        if "max_new_tokens" in self._task.arguments:
            self._watch = CancellationWatch()
        else:
            long = longer(item)
            pairs = ((item, length(item)), (long, length(long)))
            with suppress(InputError):  # a model that does not take that many tokens
                self._cost = run_cost(lambda one: self.run([Job([one], arguments)]), *pairs)

    def _answers_to(self, items: list[Any], jobs: list[Job]) -> list[Any]:
        # A lone request is a batch as its sender made it, and has the pipeline's answers to the last bit.
        lone = len(jobs) == 1
        groups = [list(range(len(items)))] if lone else buckets([length(item) for item in items], self._cost)
        arguments = dict(jobs[0].arguments)
        pipe = self._tasks(arguments.pop("task", None))
        if getattr(type(pipe), "KEEPS_PADDING", False):
            pipe.KEEPS_PADDING = bool(arguments.pop(KEEP_PADDING, False))
        answers: dict[int, Any] = {}
        for group in groups:
            try:
                found = self.ask(pipe, [items[index] for index in group], arguments)
            except (InputError, PipelineException) as error:
                # Whose it was of several jobs does not matter: each is then run by itself.
                raise placed(error, jobs[0].first if len(items) == 1 else jobs[0].first or 0) from error
            answers |= dict(zip(group, found, strict=True))
        return [answers[index] for index in range(len(items))]

    def _arguments(self, request: Any) -> dict[str, Any]:
        limit = self._settings.max_text_bytes
        read = {name: argument(request, name, kind, limit) for name, kind in self._task.arguments.items()}
        return (read_options(request, limit) or {}) | {name: value for name, value in read.items() if value is not None}


def take_place(arguments: dict[str, Any]) -> int | None:
    """The option "item", which is no argument of the pipeline. Raises `InputError`."""
    first = arguments.pop("item", None)
    if first is not None and not isinstance(first, int):
        raise InputError(f"item is the number of the first of several items, not {first!r}")
    return first


def placed(error: InputError | PipelineException, first: int | None) -> InputError:
    """The error of one of a request's items, as that of its place among all; without the place for `first` None."""
    found = re.match(r"item (\d+): (.*)", str(error), re.DOTALL)
    if found is None:
        return InputError(str(error))
    return InputError(found[2] if first is None else f"item {first + int(found[1])}: {found[2]}")


def length(item: Any) -> int:
    """About how long an item is: characters of its texts."""
    if isinstance(item, dict | list):
        return sum(map(length, item.values() if isinstance(item, dict) else item))
    return len(item) if isinstance(item, str) else 0


def longer(item: Any) -> Any:
    """An item with some words more, in its last text."""
    if isinstance(item, dict):
        *_, last = item
        return {**item, last: longer(item[last])}
    return item + " warm up" * 12


def read_items(request: Any, names: tuple[str, ...], max_bytes: int) -> list[Any]:
    """The strings of one tensor, or dicts with the strings of several. Raises `InputError`."""
    columns = {name: texts(request, name, max_bytes) for name in names}
    for name, values in columns.items():
        if not values:
            raise InputError(f"{name} is missing or empty")
    rows = list(zip(*(values or [] for values in columns.values()), strict=True))
    return [row[0] for row in rows] if len(names) == 1 else [dict(zip(names, row, strict=True)) for row in rows]


def read_words(items: list[Any], options: dict[str, Any]) -> list[Any]:
    """With `is_split_into_words` a text is a JSON list of words. Raises `InputError`."""
    if not options.get("is_split_into_words"):
        return items
    try:
        return [json.loads(item) for item in items]
    except ValueError as error:
        raise InputError(f"with is_split_into_words a text is a JSON list of words: {error}") from error


def argument(request: Any, name: str, kind: Kind, max_bytes: int) -> Any:
    """An argument of the pipeline; `None` when the request does not have it. Raises `InputError`."""
    if kind == "number":
        return scalar(request, name)
    values, shaped = texts(request, name, max_bytes), array(request, name)
    if values is None or shaped is None:
        return None
    width = len(values) // max(shaped.shape[0], 1)
    if any(values[start : start + width] != values[:width] for start in range(0, len(values), max(width, 1))):
        raise InputError(f"{name} must be the same for all rows of a request; send the rows as separate requests")
    return values[:width] if kind == "texts" else (values[0] if values else None)
