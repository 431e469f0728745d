"""Validates a bundle against its source, through the runtime: inputs, numerics, generation, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.loading import Checkpoint
from exporter.precision import PRECISIONS
from exporter.validation import (
    captioning,
    causal_lm,
    image_classification,
    object_detection,
    seq2seq,
    text_classification,
    token_classification,
)
from exporter.validation.checks import Check
from exporter.validation.images import compare_images
from exporter.validation.tokens import compare_tokenizers
from runtime.pipelines import pipeline
from runtime.session import close_sessions


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
    "image-classification": Validator(image_classification.record, image_classification.compare),
    "object-detection": Validator(object_detection.record, object_detection.compare),
}


@dataclass
class Expectation:
    """What the source said, and what prepares its inputs."""

    task: str
    answers: Any
    tokenizer: Any
    processor: Any = None


def record_source(checkpoint: Checkpoint) -> Expectation:
    """Ask the source model, loaded in float32."""
    task = checkpoint.row.name
    return Expectation(task, VALIDATORS[task].record(checkpoint), checkpoint.tokenizer, checkpoint.processor)


def validate_bundle(expected: Expectation, bundle: Path, provider: str = "cpu") -> list[Check]:
    """Ask the bundle at `bundle` (a version directory) the same and compare."""
    pipe: Any = pipeline(expected.task, bundle, provider=provider, verify=False)
    try:
        inputs = compare_inputs(expected, pipe)
        precision = PRECISIONS[pipe.manifest.precision]
        return [*inputs, *VALIDATORS[expected.task].compare(expected.answers, pipe, precision)]
    finally:
        pipe.close()
        close_sessions()


def compare_inputs(expected: Expectation, pipe: Any) -> list[Check]:
    """What the runtime feeds to the graph against what HF feeds to the model."""
    checks = []
    if expected.tokenizer is not None:
        found = compare_tokenizers(expected.tokenizer, pipe.tokenizer)
        checks.append(Check("inputs", "tokenizer", not found, {"mismatches": len(found)}, "; ".join(found[:2])))
    if expected.processor is not None:
        checks.append(compare_images(expected.processor, pipe.processor))
    return checks
