"""Validates a bundle against its source, through the runtime: inputs, numerics, generation, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.evaluation.run import Evaluation, evaluate_bundle
from exporter.generation_config import resolve_generation
from exporter.loading import Checkpoint
from exporter.precision import PRECISIONS, Precision
from exporter.report.observe import SourceFacts
from exporter.seq2seq_tasks import resolve_tasks
from exporter.validation import (
    captioning,
    causal_lm,
    feature_extraction,
    fill_mask,
    image_classification,
    object_detection,
    question_answering,
    sentence_similarity,
    seq2seq,
    text_classification,
    token_classification,
    zero_shot_classification,
)
from exporter.validation.checks import Check
from exporter.validation.images import compare_images
from runtime.bundle import open_bundle
from runtime.images.processor import ImageProcessor
from runtime.pipelines import pipeline
from runtime.session import close_sessions
from runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class Validator:
    """How a task is validated: `record` asks the source model, `compare` the bundle's pipeline."""

    record: Callable[[Checkpoint], Any]
    compare: Callable[[Any, Any, Any], list[Check]]


VALIDATORS = {
    "text-generation": Validator(causal_lm.record, causal_lm.compare),
    "text2text-generation": Validator(seq2seq.record, seq2seq.compare),
    "image-to-text": Validator(captioning.record, seq2seq.compare),
    "summarization": Validator(seq2seq.record, seq2seq.compare),
    "translation": Validator(seq2seq.record, seq2seq.compare),
    "text-classification": Validator(text_classification.record, text_classification.compare),
    "token-classification": Validator(token_classification.record, token_classification.compare),
    "fill-mask": Validator(fill_mask.record, fill_mask.compare),
    "question-answering": Validator(question_answering.record, question_answering.compare),
    "zero-shot-classification": Validator(zero_shot_classification.record, zero_shot_classification.compare),
    "feature-extraction": Validator(feature_extraction.record, feature_extraction.compare),
    "sentence-similarity": Validator(sentence_similarity.record, sentence_similarity.compare),
    "image-classification": Validator(image_classification.record, image_classification.compare),
    "object-detection": Validator(object_detection.record, object_detection.compare),
}


# Sequences under way at a time, of those that generate: fewer than there are prompts, so that slots are used again.
SLOTS = 4


@dataclass
class Expectation:
    """What the source said, and what prepares its inputs.

    generation: the parameters that a generating checkpoint resolves to, which greedy probes alone would not tell apart.
    facts: what the report tells of the source beyond that; None where no report is written. evaluation: the source's
    answers to evaluation data.
    """

    task: str
    answers: Any
    tokenizer: Any
    processor: Any = None
    generation: dict[str, Any] | None = None
    facts: SourceFacts | None = None
    evaluation: Evaluation | None = None


def record_source(checkpoint: Checkpoint) -> Expectation:
    """Ask the source model, loaded in float32."""
    task = checkpoint.row.name
    generation = generation_of(checkpoint)
    answers = VALIDATORS[task].record(checkpoint)
    return Expectation(task, answers, checkpoint.tokenizer, checkpoint.processor, generation)


def generation_of(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What `bundle_writer` resolves for a checkpoint that generates."""
    if checkpoint.row.kind == "seq2seq":
        return resolve_tasks(checkpoint.model, checkpoint.tokenizer)[checkpoint.row.name]["generation"]  # type: ignore[no-any-return]
    if checkpoint.row.kind in ("causal-lm", "captioning"):
        return resolve_generation(checkpoint.model, checkpoint.tokenizer, checkpoint.row.name)
    return None


def validate_bundle(expected: Expectation, bundle: Path, provider: str = "cpu") -> list[Check]:
    """Ask the bundle at `bundle` (a version directory) the same and compare."""
    return [*compare_inputs(expected, bundle), *validate_answers(expected, bundle, provider)]


def validate_answers(expected: Expectation, bundle: Path, provider: str = "cpu") -> list[Check]:
    """Everything but the inputs, through the bundle's pipeline; needs no torch."""
    options = {} if expected.generation is None else {"slots": SLOTS}
    pipe: Any = pipeline(expected.task, bundle, provider=provider, verify=False, **options)
    try:
        precision = PRECISIONS[pipe.manifest.precision]
        return [
            *compare_parameters(expected, pipe),
            *compare(expected, pipe, precision),
            *evaluate(expected, pipe, precision),
        ]
    finally:
        pipe.close()
        close_sessions()


def compare(expected: Expectation, pipe: Any, precision: Precision) -> list[Check]:
    """The task's own checks. A pipeline that cannot run where the source could is a failed check, not a crash."""
    try:
        return VALIDATORS[expected.task].compare(expected.answers, pipe, precision)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return [Check("answers", "the pipeline runs", False, {}, f"{type(error).__name__}: {reason}")]


def evaluate(expected: Expectation, pipe: Any, precision: Precision) -> list[Check]:
    """The task's metric on evaluation data, where there is any."""
    if expected.evaluation is None:
        return []
    try:
        return evaluate_bundle(expected.evaluation, pipe, precision)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return [Check("accuracy", "the evaluation runs", False, {}, f"{type(error).__name__}: {reason}")]


def compare_parameters(expected: Expectation, pipe: Any) -> list[Check]:
    """Generation parameters of the bundle against those that the source resolves to."""
    if expected.generation is None:
        return []
    found = pipe.manifest.generation
    names = sorted(expected.generation.keys() | found.keys())
    wrong = [
        f"{name} is {found.get(name)!r} instead of {expected.generation.get(name)!r}"
        for name in names
        if found.get(name) != expected.generation.get(name)
    ]
    return [Check("generation", "parameters", not wrong, {}, "; ".join(wrong[:2]))]


def compare_inputs(expected: Expectation, bundle: Path) -> list[Check]:
    """What the runtime feeds to the graph against what HF feeds to the model; no graph is opened."""
    opened = open_bundle(bundle, verify=False)
    checks = []
    if expected.tokenizer is not None:
        from exporter.validation.tokens import compare_tokenizers

        found = compare_tokenizers(expected.tokenizer, Tokenizer.from_bundle(opened))
        checks.append(Check("inputs", "tokenizer", not found, {"mismatches": len(found)}, "; ".join(found[:2])))
    if expected.processor is not None and opened.manifest.image is not None:
        checks.append(compare_images(expected.processor, ImageProcessor(opened.manifest.image)))
    return checks
