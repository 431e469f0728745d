"""Validation of masked language models: logits of every token, and the pipeline's words."""

from __future__ import annotations

from typing import Any

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.answers import compare_answers
from exporter.validation.checks import Check, compare_logits
from exporter.validation.encoders import Reference, compare_outputs, outputs_of
from runtime.pipelines.fill_mask import FillMaskPipeline

# "{}" is the mask.
TEXTS = (
    "Paris is the {} of France.",
    "Return the {} of the list.",
    "{}",
    "The service was {}, but the food arrived cold and the {} was wrong; we still left a tip, and then we walked home.",
    "Das ist wirklich sehr {} geworden! 👍",
)


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32."""
    from transformers import pipeline as hf_pipeline

    pipe = hf_pipeline("fill-mask", model=checkpoint.model, tokenizer=checkpoint.tokenizer)
    texts = with_masks(checkpoint.tokenizer)
    with quiet():
        return Reference(
            [outputs_of(checkpoint, text) for text in texts],
            [(inputs, options, pipe(inputs, **options)) for inputs, options in questions(texts)],
        )


def with_masks(tokenizer: Any) -> list[str]:
    """The texts with this tokenizer's mask (HF's or the runtime's); the first in place of one that is too long."""
    texts = [text.format(*[tokenizer.mask_token] * 2) for text in TEXTS]
    limit = tokenizer.model_max_length
    return [text if limit is None or len(tokenizer(text)["input_ids"]) <= limit else texts[0] for text in texts]


def questions(texts: list[str]) -> list[tuple[Any, dict[str, Any]]]:
    """One mask, several, a list, and a choice of words."""
    longest = max(texts, key=len)
    return [(texts[0], {}), (texts, {"top_k": 3}), (longest, {"top_k": 1}), (texts[1], {"targets": ["end", "good"]})]


def compare(reference: Reference, pipe: FillMaskPipeline, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    prepared = [pipe.preprocess(text) for text in with_masks(pipe.tokenizer)]
    with quiet():
        pairs = [(inputs, answer, pipe(inputs, **options)) for inputs, options, answer in reference.answers]
    return [
        *compare_outputs(reference, pipe, prepared, precision, compare_logits),
        compare_answers("fill-mask pipeline", pairs, precision),
    ]
