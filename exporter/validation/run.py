"""Validates a bundle against its source, through the runtime: inputs, numerics, generation, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.loading import Checkpoint
from exporter.precision import PRECISIONS
from exporter.validation import causal_lm, text_classification
from exporter.validation.checks import Check
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
    "text-classification": Validator(text_classification.record, text_classification.compare),
}


@dataclass
class Expectation:
    """What the source said, and its tokenizer."""

    task: str
    answers: Any
    tokenizer: Any


def record_source(checkpoint: Checkpoint) -> Expectation:
    """Ask the source model, loaded in float32."""
    task = checkpoint.row.name
    return Expectation(task, VALIDATORS[task].record(checkpoint), checkpoint.tokenizer)


def validate_bundle(expected: Expectation, bundle: Path, provider: str = "cpu") -> list[Check]:
    """Ask the bundle at `bundle` (a version directory) the same and compare."""
    pipe: Any = pipeline(expected.task, bundle, provider=provider, verify=False)
    try:
        mismatches = compare_tokenizers(expected.tokenizer, pipe.tokenizer)
        inputs = Check(
            "inputs", "tokenizer", not mismatches, {"mismatches": len(mismatches)}, "; ".join(mismatches[:2])
        )
        precision = PRECISIONS[pipe.manifest.precision]
        return [inputs, *VALIDATORS[expected.task].compare(expected.answers, pipe, precision)]
    finally:
        pipe.close()
        close_sessions()
