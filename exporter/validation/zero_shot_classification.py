"""Validation of zero-shot classifiers: logits of text and hypothesis over batches, and the pipeline's rankings."""

from __future__ import annotations

from typing import Any

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.answers import compare_answers
from exporter.validation.checks import Check, compare_logits
from exporter.validation.encoders import Reference, compare_outputs, outputs_of
from exporter.validation.text_classification import TEXTS
from runtime.errors import ExportError
from runtime.pipelines.zero_shot_classification import DEFAULT_TEMPLATE, ZeroShotClassificationPipeline

LABELS = ["politics", "public health", "sport"]
TEMPLATE = "Dieser Text handelt von {}."


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32. Raises `ExportError` when it has no label for entailment."""
    from transformers import pipeline as hf_pipeline

    if not any(label.lower().startswith("entail") for label in checkpoint.config.label2id):
        names = ", ".join(checkpoint.config.label2id)
        raise ExportError(
            f"{checkpoint.source.id} has labels {names}, none begins with 'entail': give a model trained on natural "
            "language inference"
        )
    pipe = hf_pipeline("zero-shot-classification", model=checkpoint.model, tokenizer=checkpoint.tokenizer)
    hypothesis = DEFAULT_TEMPLATE.format(LABELS[0])
    with quiet():
        return Reference(
            [outputs_of(checkpoint, text, hypothesis, truncation="only_first") for text in TEXTS],
            [(inputs, options, pipe(inputs, **options)) for inputs, options in questions()],
        )


def questions() -> list[tuple[Any, dict[str, Any]]]:
    """Labels as list and text, one and several, exclusive or not."""
    return [
        (list(TEXTS), {"candidate_labels": LABELS}),
        (TEXTS[1], {"candidate_labels": ", ".join(LABELS), "multi_label": True}),
        (TEXTS[0], {"candidate_labels": LABELS[0]}),
        (TEXTS[4], {"candidate_labels": LABELS, "hypothesis_template": TEMPLATE}),
    ]


def compare(reference: Reference, pipe: ZeroShotClassificationPipeline, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    prepared = [next(pipe.preprocess(text, LABELS[:1])) for text in TEXTS]
    pairs = [
        (inputs, as_ranking(answer), as_ranking(pipe(inputs, **options)))
        for inputs, options, answer in reference.answers
    ]
    return [
        *compare_outputs(reference, pipe, prepared, precision, compare_logits),
        compare_answers("zero-shot-classification pipeline", pairs, precision),
    ]


def as_ranking(answer: Any) -> Any:
    """One record per label, so that equal scores may change places."""
    if isinstance(answer, list):
        return [as_ranking(one) for one in answer]
    records = zip(answer["labels"], answer["scores"], strict=True)
    return [{"sequence": answer["sequence"], "label": label, "score": score} for label, score in records]
