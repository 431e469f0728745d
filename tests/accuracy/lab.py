"""Exports of one checkpoint in many precisions, traced once; and the table of what each of them costs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from exporter.finishing import Finish
from exporter.held import Held
from exporter.job import Job
from exporter.loading import load_config
from exporter.making import attempt
from exporter.options import ExportOptions
from exporter.precision import PRECISIONS
from exporter.source import resolve_source
from exporter.stages import Stages
from exporter.staging import Stagings
from exporter.tasks import resolve_task
from runtime import pipeline
from tests.accuracy.test_accuracy import accuracy, token_losses, windows
from tests.accuracy.test_text_tasks import tags_of
from tests.checkpoints import SENTIMENT_HELDOUT
from tests.checkpoints.train import ner, question_answering
from tests.checkpoints.train.shape_classifier import HELDOUT_SEED
from tests.checkpoints.train.shapes import LABELS, portrait


class Lab:
    """`lab("int8")` is the path of an export of `checkpoint`, not validated. Further options are `ExportOptions`.

    The same is exported once: `lab.fresh` exports anew.
    """

    def __init__(self, checkpoint: Path, output: Path) -> None:
        self.options = ExportOptions(str(checkpoint), output=output, validate=False, force=True)
        self.source = resolve_source(str(checkpoint))
        self.row = resolve_task(None, load_config(self.source), self.source)
        self.held: Held | None = None
        self.exports = 0
        self.made: dict[str, Path] = {}

    def __call__(self, precision: str, **options: Any) -> Path:
        key = f"{precision} {options}"
        if key not in self.made:
            self.made[key] = self.fresh(precision, **options)
        return self.made[key]

    def fresh(self, precision: str, **options: Any) -> Path:
        """An export that nobody else gets."""
        self.exports += 1
        name = f"{precision}-{self.exports}"
        chosen = replace(self.options, **options)
        job = Job(chosen, self.source, self.row, PRECISIONS[precision], name, Stages())
        self.held = self.held or Held(job.load)
        with Stagings(chosen) as stagings:
            made = attempt(job, self.held, None, False, stagings.open)
            return Finish(chosen, precision, job.stages).run(made, None, stagings).directory


@dataclass(frozen=True)
class Row:
    """One line of the table. loss: of the metric against fp32, as the budget counts it; 0.01 is a point, or 1 %."""

    task: str
    precision: str
    metric: float
    loss: float
    budget: float

    @property
    def passed(self) -> bool:
        return self.loss <= self.budget + 1e-9


def show(rows: Sequence[Row]) -> str:
    """The table, for the message of a test that fails."""
    lines = [f"{'task':<24}{'precision':<12}{'metric':>10}{'loss':>10}{'budget':>10}"]
    for row in rows:
        mark = "" if row.passed else "   <-- over its budget"
        lines.append(f"{row.task:<24}{row.precision:<12}{row.metric:>10.4f}{row.loss:>10.4f}{row.budget:>10.4f}{mark}")
    return "\n".join(lines)


def compare(task: str, metric: Metric, bundles: dict[str, Path], budgets: dict[str, float]) -> list[Row]:
    """Rows for all bundles but fp32, against it."""
    reference = metric.of(bundles["fp32"])
    rows = []
    for precision, bundle in bundles.items():
        if precision != "fp32":
            found = metric.of(bundle)
            rows.append(Row(task, precision, found, metric.loss(reference, found), budgets[precision]))
    return rows


@dataclass(frozen=True)
class Metric:
    """`ask(bundle)` measures, `of(bundle)` does so once; `loss(reference, found)` is what was lost."""

    ask: Callable[[Path], float]
    loss: Callable[[float, float], float] = lambda reference, found: reference - found

    def of(self, bundle: Path) -> float:
        """What was measured when this bundle was first asked."""
        return measured(self.ask, bundle)


@cache
def measured(ask: Callable[[Path], float], bundle: Path) -> float:
    """A bundle does not change, and language models take seconds."""
    return ask(bundle)


def perplexity(checkpoint: Path) -> Metric:
    """On held-out text; the loss is relative."""

    def ask(bundle: Path) -> float:
        pipe: Any = pipeline("text-generation", bundle, verify=False)
        losses = [token_losses(pipe.model.runner.score(window), window) for window in windows(checkpoint)]
        return math.exp(float(np.concatenate(losses).mean()))

    return Metric(ask, lambda reference, found: found / reference - 1)


def sentiment(bundle: Path) -> float:
    """Accuracy on held-out sentences."""
    rows = [json.loads(line) for line in SENTIMENT_HELDOUT.read_text(encoding="utf-8").splitlines()]
    answers = pipeline("text-classification", bundle, verify=False)([row["text"] for row in rows], batch_size=8)
    return accuracy([answer["label"] for answer in answers], [row["label"] for row in rows])


def names(bundle: Path) -> float:
    """F1 of whole entities in held-out sentences."""
    examples = ner.heldout()
    pipe = pipeline("ner", bundle, verify=False)
    answers = pipe([words for words, _ in examples], is_split_into_words=True, batch_size=16)
    found = [tags_of(words, answer) for (words, _), answer in zip(examples, answers, strict=True)]
    return float(ner.f1([tags for _, tags in examples], found))


def spans(bundle: Path) -> float:
    """Exact match on held-out questions."""
    examples = question_answering.heldout()
    pipe = pipeline("question-answering", bundle, handle_impossible_answer=True, verify=False)
    questions = [{"question": example.question, "context": example.context} for example in examples]
    answers = pipe(questions, batch_size=16)
    return float(np.mean([answer["answer"] == e.answer for answer, e in zip(answers, examples, strict=True)]))


def shapes(bundle: Path) -> float:
    """Accuracy on drawings that were never seen."""
    random = np.random.default_rng(HELDOUT_SEED)
    drawings = [portrait(random, (48, 48)) for _ in range(200)]
    pipe = pipeline("image-classification", bundle, verify=False)
    answers = pipe([image for image, _ in drawings], top_k=1, batch_size=16)
    right = [answer[0]["label"] == LABELS[label] for answer, (_, label) in zip(answers, drawings, strict=True)]
    return float(np.mean(right))
