"""Evaluates a source model and its bundle on the same data and holds the drop against a budget.

`prepare` refuses bad data before anything is loaded, `evaluate_source` asks the source while it is there,
`evaluate_bundle` the bundle afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporter.evaluation import (
    classification,
    embeddings,
    fill_mask,
    language_model,
    object_detection,
    question_answering,
    text2text,
    token_classification,
)
from exporter.evaluation.base import Evaluator, Example, Sheet
from exporter.evaluation.columns import parse_columns, resolve_columns
from exporter.evaluation.data import read_table
from exporter.evaluation.label_columns import join_label_columns
from exporter.evaluation.settings import EvaluationSettings
from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.checks import Check
from runtime.errors import InputError

EVALUATORS: dict[str, Evaluator] = {
    "text-generation": language_model.TEXT_GENERATION,
    "text-classification": classification.TEXT_CLASSIFICATION,
    "token-classification": token_classification.TOKEN_CLASSIFICATION,
    "question-answering": question_answering.QUESTION_ANSWERING,
    "fill-mask": fill_mask.FILL_MASK,
    "zero-shot-classification": classification.ZERO_SHOT,
    "feature-extraction": embeddings.FEATURE_EXTRACTION,
    "sentence-similarity": embeddings.SENTENCE_SIMILARITY,
    "summarization": text2text.SUMMARIZATION,
    "translation": text2text.TRANSLATION,
    "text2text-generation": text2text.TEXT2TEXT,
    "image-to-text": text2text.IMAGE_TO_TEXT,
    "image-classification": classification.IMAGE_CLASSIFICATION,
    "object-detection": object_detection.OBJECT_DETECTION,
}


@dataclass(frozen=True)
class Evaluation:
    """Data that is ready to be asked about, and what the source said to it, once it was asked."""

    task: str
    examples: list[Example]
    max_drop: float | None
    source: list[Any] | None = None

    @property
    def evaluator(self) -> Evaluator:
        """The row of the task."""
        return EVALUATORS[self.task]


def prepare(settings: EvaluationSettings, task: str, config: Any) -> Evaluation | None:
    """Read the data for a task and a checkpoint's config; None where none was given. Raises `InputError`."""
    settings.check()
    if settings.data is None:
        return None
    table = read_table(settings.data, settings.limit)
    given = parse_columns(settings.columns)
    if task == "text-classification":
        table, given = join_label_columns(table, config, given)
    columns = resolve_columns(table, task, EVALUATORS[task].roles, given)
    examples = EVALUATORS[task].examples(Sheet(table, columns, config))
    if not examples:
        raise InputError(f"{settings.data} has nothing to evaluate {task} on")
    return Evaluation(task, examples, settings.max_drop)


def evaluate_source(evaluation: Evaluation, checkpoint: Checkpoint) -> Evaluation:
    """The same with the source's answers."""
    with quiet():
        answers = evaluation.evaluator.ask_source(checkpoint, evaluation.examples)
    return Evaluation(evaluation.task, evaluation.examples, evaluation.max_drop, answers)


def evaluate_bundle(evaluation: Evaluation, pipe: Any, precision: Precision) -> list[Check]:
    """One check for each metric, of point "accuracy"."""
    assert evaluation.source is not None
    evaluator, examples = evaluation.evaluator, evaluation.examples
    answers = evaluator.ask_bundle(pipe, examples)
    source = evaluator.score(evaluation.source, examples, evaluation.source)
    bundle = evaluator.score(answers, examples, evaluation.source)
    allowed = default_drop(precision) if evaluation.max_drop is None else evaluation.max_drop
    return [
        accuracy_check(name, source[name], bundle[name], allowed, len(examples), name in evaluator.relative)
        for name in source
    ]


def accuracy_check(name: str, source: float, bundle: float, allowed: float, examples: int, relative: bool) -> Check:
    """Passed while the bundle is at most `allowed` points worse, or per cent where lower is better."""
    drop = 100 * (bundle / source - 1) if relative else source - bundle
    passed = drop <= allowed
    unit = "%" if relative else " points"
    words = f"{name} {source:.4g} became {bundle:.4g}, {drop:.2f}{unit} worse; allowed are {allowed:g}"
    figures = {"source": source, "bundle": bundle, "drop": drop, "allowed": allowed, "examples": float(examples)}
    return Check("accuracy", name, passed, figures, "" if passed else words)


def default_drop(precision: Precision) -> float:
    """Points (per cent of perplexity) that a precision may cost by default: by how many bytes a weight keeps."""
    if precision.exact:
        return 0.1
    by_bytes = ((2.0, 0.5), (1.0, 1.0))
    return next((drop for size, drop in by_bytes if precision.bytes_per_weight >= size), 5.0)
