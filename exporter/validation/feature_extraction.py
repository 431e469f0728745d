"""Validation of feature extraction: the hidden states of every token, and the pipeline's lists."""

from __future__ import annotations

from typing import Any

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.answers import compare_answers
from exporter.validation.checks import Check
from exporter.validation.encoders import Reference, compare_features, compare_outputs, outputs_of
from exporter.validation.text_classification import TEXTS
from runtime.pipelines.feature_extraction import FeatureExtractionPipeline


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32."""
    from transformers import pipeline as hf_pipeline

    pipe = hf_pipeline("feature-extraction", model=checkpoint.model, tokenizer=checkpoint.tokenizer)
    inputs: list[Any] = [TEXTS[0], list(TEXTS[:3])]
    with quiet():
        return Reference(
            [outputs_of(checkpoint, text) for text in TEXTS],
            [(item, {"truncation": True}, pipe(item, truncation=True)) for item in inputs],
        )


def compare(reference: Reference, pipe: FeatureExtractionPipeline, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    prepared = [pipe.preprocess(text, truncation=True) for text in TEXTS]
    pairs = [(inputs, answer, pipe(inputs, **options)) for inputs, options, answer in reference.answers]
    return [
        *compare_outputs(reference, pipe, prepared, precision, compare_features),
        compare_answers("feature-extraction pipeline", pairs, precision),
    ]
