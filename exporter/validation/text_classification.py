"""Validation of text classifiers: logits over batches with padding, and the pipeline's answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.checks import Check, compare_logits
from runtime.pipelines.text_classification import TextClassificationPipeline

TEXTS = (
    "I love this!",
    "This film was a complete waste of two hours, and the ending made no sense at all.",
    "ok",
    "The service was friendly, but the food arrived cold and the bill was wrong. We still left a tip, and then we "
    "walked home along the river, talking about everything except the meal.",
    "Das ist wirklich sehr gut geworden!",
)
# Longer than the context of most models: they see it cut at their last position.
LONG_TEXT = " ".join(TEXTS) * 12


@dataclass
class Reference:
    """What the source model said."""

    logits: list[tuple[list[str], np.ndarray]] = field(
        default_factory=list
    )  # (texts of a batch, logits [batch, labels])
    answers: list[tuple[Any, dict[str, Any], Any]] = field(default_factory=list)  # (input, options, HF's answer)


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32. Every text runs alone there, so padding cannot leak."""
    import torch
    from transformers import pipeline as hf_pipeline

    pipe = hf_pipeline("text-classification", model=checkpoint.model, tokenizer=checkpoint.tokenizer)
    reference = Reference()
    with quiet(), torch.no_grad():
        alone = [logits_of(checkpoint, text) for text in TEXTS]
        for texts in ((0,), (1, 2), (0, 1, 2, 3, 4)):
            rows = np.stack([alone[index] for index in texts])
            reference.logits.append(([TEXTS[index] for index in texts], rows))
        reference.logits.append(([LONG_TEXT], logits_of(checkpoint, LONG_TEXT)[None]))
        for item, options in questions():
            reference.answers.append((item, options, pipe(item, **options)))
    return reference


def logits_of(checkpoint: Checkpoint, text: str) -> np.ndarray:
    """The source's logits `[labels]` for one text."""
    encoded = checkpoint.tokenizer(text, truncation=True, return_tensors="pt").to(checkpoint.model.device)
    inputs = {name: encoded[name] for name in checkpoint.tokenizer.model_input_names if name in encoded}
    logits: np.ndarray = checkpoint.model(**inputs).logits[0].float().cpu().numpy()
    return logits


def questions() -> list[tuple[Any, dict[str, Any]]]:
    """Every shape of input that the pipeline takes."""
    cut = {"truncation": True}
    return [
        (TEXTS[0], cut),
        (list(TEXTS), cut),
        (list(TEXTS), {**cut, "top_k": None}),
        (TEXTS[1], {**cut, "top_k": 2}),
        ({"text": TEXTS[0], "text_pair": TEXTS[1]}, cut),
    ]


def compare(reference: Reference, pipe: TextClassificationPipeline, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    checks = []
    for texts, expected in reference.logits:
        items = [pipe.preprocess(text, truncation=True) for text in texts]
        outputs = pipe._forward_batch(items) if len(items) > 1 else [pipe.forward(items[0])]
        found = np.concatenate([output["logits"] for output in outputs])
        name = "a long text" if texts == [LONG_TEXT] else f"batch of {len(texts)}"
        checks.append(compare_logits(name, expected, found, precision))
    return [*checks, compare_answers(reference, pipe, precision.score)]


def compare_answers(reference: Reference, pipe: TextClassificationPipeline, tolerance: float) -> Check:
    """Labels equal, scores within `tolerance`, in HF's nesting."""
    wrong, worst = [], 0.0
    for item, options, expected in reference.answers:
        found = pipe(item, **options)
        difference = score_difference(expected, found)
        worst = max(worst, difference if np.isfinite(difference) else 1.0)
        if difference > tolerance:
            wrong.append(f"for {str(item)[:40]!r}: {str(found)[:100]} instead of {str(expected)[:100]}")
    return Check("answers", "text-classification pipeline", not wrong, {"score_error": worst}, "; ".join(wrong[:1]))


def score_difference(expected: Any, found: Any) -> float:
    """Largest difference of scores; infinite where nesting or labels differ.

    In a ranking, neighbours whose scores are the same but for rounding may have changed places.
    """
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        if is_ranking(expected) and is_ranking(found):
            expected, found = (sorted(answer, key=lambda item: str(item["label"])) for answer in (expected, found))
        return max((score_difference(a, b) for a, b in zip(expected, found, strict=True)), default=0.0)
    if isinstance(expected, dict) and isinstance(found, dict) and list(expected) == list(found):
        same = expected["label"] == found["label"]
        return abs(float(expected["score"]) - float(found["score"])) if same else float("inf")
    return float("inf")


def is_ranking(answer: list[Any]) -> bool:
    """Whether a list of answers ranks the labels of one text: labels all different, scores falling."""
    if not all(isinstance(item, dict) for item in answer):
        return False
    labels, scores = [item["label"] for item in answer], [item["score"] for item in answer]
    return len(answer) > 1 and len(set(labels)) == len(labels) and scores == sorted(scores, reverse=True)
