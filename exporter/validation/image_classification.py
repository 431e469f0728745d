"""Validation of image classifiers: pixel values, logits over batches, and the pipeline's answers."""

from __future__ import annotations

from typing import Any

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.answers import compare_answers
from exporter.validation.checks import Check, compare_logits
from exporter.validation.vision import Reference, compare_outputs, images, outputs_of


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32."""
    from transformers import pipeline as hf_pipeline

    pipe = hf_pipeline("image-classification", model=checkpoint.model, image_processor=checkpoint.processor)
    with quiet():
        answers = [(question, options, pipe(question, **options)) for question, options in questions()]
        return Reference([outputs_of(checkpoint, image) for image in images()], answers)


def questions() -> list[tuple[Any, dict[str, Any]]]:
    """Single images, lists, and every option."""
    first, *rest = images()
    return [
        (first, {}),
        ([first, *rest], {"top_k": 2}),
        (rest[0], {"function_to_apply": "sigmoid"}),
        (rest[1], {"function_to_apply": "none", "top_k": 10**6}),
    ]


def compare(reference: Reference, pipe: Any, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    checks = compare_outputs(reference, pipe, precision, {"logits": compare_logits})
    if not all(check.passed for check in checks):
        return checks
    pairs = [(question, answer, pipe(question, **options)) for question, options, answer in reference.answers]
    return [*checks, compare_answers("image-classification pipeline", pairs, precision)]
