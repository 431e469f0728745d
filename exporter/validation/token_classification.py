"""Validation of token classifiers: logits of every token over batches with padding, and the pipeline's entities."""

from __future__ import annotations

from typing import Any

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.answers import compare_answers
from exporter.validation.checks import Check, compare_logits
from exporter.validation.encoders import Reference, compare_outputs, outputs_of
from runtime.pipelines.token_classification import TokenClassificationPipeline

TEXTS = (
    "My name is Sarah Connor and I live in London.",
    "On Monday, Angela Merkel met the board of Siemens in Munich; nobody from New York had been asked.",
    "ok",
    "Hans, Ümit & François flew from São Paulo to Zürich (on behalf of the World Health Organization), and then they "
    "walked along the river until somebody from Microsoft called: would they come to Redmond?",
    "東京に住んでいる太郎さん 👍 U.S.A.",
)
WORDS = [["Angela", "Merkel", "lives", "in", "Berlin", "."], ["São", "Paulo's", "co-op"]]
LONGEST_WINDOW = 1024  # tokens; beyond it a text in several windows takes too long


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32."""
    from transformers import pipeline as hf_pipeline

    pipe = hf_pipeline("token-classification", model=checkpoint.model, tokenizer=checkpoint.tokenizer)
    with quiet():
        return Reference(
            [outputs_of(checkpoint, text) for text in TEXTS],
            [(inputs, options, pipe(inputs, **options)) for inputs, options in questions(checkpoint)],
        )


def questions(checkpoint: Checkpoint) -> list[tuple[Any, dict[str, Any]]]:
    """Every strategy, lists, words, and a text in several windows where the model has a limit."""
    asked: list[tuple[Any, dict[str, Any]]] = [
        (list(TEXTS), {"aggregation_strategy": strategy}) for strategy in ("none", "simple", "first", "average", "max")
    ]
    asked += [(TEXTS[1], {"ignore_labels": []}), (WORDS, {"is_split_into_words": True})]
    limit = checkpoint.tokenizer.model_max_length
    if limit <= LONGEST_WINDOW and checkpoint.tokenizer.pad_token is not None:
        long = " ".join(TEXTS) * (1 + limit // 100)
        asked.append((long, {"aggregation_strategy": "simple", "stride": limit // 8}))
    return asked


def compare(reference: Reference, pipe: TokenClassificationPipeline, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    prepared = [next(pipe.preprocess(text)) for text in TEXTS]
    with quiet():
        pairs = [(inputs, answer, pipe(inputs, **options)) for inputs, options, answer in reference.answers]
    return [
        *compare_outputs(reference, pipe, prepared, precision, compare_logits),
        compare_answers("token-classification pipeline", pairs, precision),
    ]
