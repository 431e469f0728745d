"""Embeddings: how close the bundle's are to the source's, and how well similarities follow those that people gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporter.evaluation.base import TEXT, Evaluator, Example, Sheet
from exporter.evaluation.columns import Role
from exporter.evaluation.metrics.classification import spearman
from exporter.loading import Checkpoint
from exporter.sentences import sentence_facts
from exporter.validation.encoders import outputs_of
from exporter.validation.sentence_similarity import pooled, prepared

PAIR = Role("text_pair", ("sentence2", "hypothesis", "text2"), optional=True)
SCORE = Role("score", ("similarity", "similarity_score", "label"), optional=True)


def examples(sheet: Sheet) -> list[Example]:
    """A text a row; with a second text and a score also how similar they are."""
    rated = {"text_pair", "score"} <= set(sheet.columns)
    return [
        Example(
            [sheet.text(index, "text"), *([sheet.text(index, "text_pair")] if rated else [])],
            sheet.number(index, "score") if rated else None,
        )
        for index in range(len(sheet))
    ]


def ask_sentences(pipe: Any, items: Sequence[Example]) -> list[Any]:
    """The bundle's vectors of each row."""
    return [[np.asarray(vector) for vector in pipe(example.inputs, return_tensors=True)] for example in items]


def ask_sentence_source(checkpoint: Checkpoint, items: Sequence[Example]) -> list[Any]:
    """Pooled in torch as the checkpoint declares."""
    import torch

    facts = sentence_facts(Path(checkpoint.source.location))
    limit = {"max_length": facts["max_seq_length"]} if "max_seq_length" in facts else {}

    def vector(text: str) -> np.ndarray:
        states = outputs_of(checkpoint, prepared(text, facts), **limit)["last_hidden_state"]
        return pooled(torch.from_numpy(states), facts)

    return [[vector(text) for text in example.inputs] for example in items]


def ask_features(pipe: Any, items: Sequence[Example]) -> list[Any]:
    """The mean of the bundle's hidden states of each text."""
    return [
        [np.asarray(pipe(text, truncation=True)[0], np.float64).mean(0) for text in example.inputs] for example in items
    ]


def ask_feature_source(checkpoint: Checkpoint, items: Sequence[Example]) -> list[Any]:
    """The same of torch's."""
    return [
        [outputs_of(checkpoint, text)["last_hidden_state"].astype(np.float64).mean(0) for text in example.inputs]
        for example in items
    ]


def score(answers: Sequence[Any], items: Sequence[Example], source: Sequence[Any]) -> dict[str, float]:
    """Mean cosine to the source's vectors, times 100; Spearman of the similarities where the data has scores."""
    pairs = [pair for ours, theirs in zip(answers, source, strict=True) for pair in zip(ours, theirs, strict=True)]
    found = {"cosine to the source": 100 * float(np.mean([cosine(a, b) for a, b in pairs]))}
    if items[0].gold is not None:
        similarities = [cosine(*vectors) for vectors in answers]
        found["Spearman"] = spearman(similarities, [example.gold for example in items])
    return found


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two vectors, in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


SENTENCE_SIMILARITY = Evaluator((TEXT, PAIR, SCORE), examples, ask_sentence_source, ask_sentences, score)
FEATURE_EXTRACTION = Evaluator((TEXT, PAIR, SCORE), examples, ask_feature_source, ask_features, score)
