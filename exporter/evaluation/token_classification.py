"""F1 of whole entities in texts that are split into words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.evaluation.base import BATCH, Evaluator, Example, Sheet, source_pipeline
from exporter.evaluation.columns import Role
from exporter.evaluation.metrics.entities import entity_f1
from exporter.loading import Checkpoint
from runtime.errors import InputError

WORDS = Role("words", ("tokens", "text"))
TAGS = Role("tags", ("ner_tags", "labels", "label"))


def examples(sheet: Sheet) -> list[Example]:
    """Words with a tag each, `B-PER` or its number."""
    found = []
    for index in range(len(sheet)):
        words, tags = sheet.get(index, "words"), sheet.get(index, "tags")
        if not isinstance(words, list) or not isinstance(tags, list) or len(words) != len(tags):
            raise InputError(f"{sheet.where(index)}: token-classification reads lists of words and as many tags")
        found.append(Example([str(word) for word in words], [sheet.label(index, tag, "tags") for tag in tags]))
    return [example for example in found if example.inputs]


def ask(pipe: Any, texts: Sequence[Example]) -> list[Any]:
    """The tag of every word: that of the token at its first character."""
    answers = pipe([example.inputs for example in texts], is_split_into_words=True, batch_size=BATCH)
    return [tags_of(example.inputs, entities) for example, entities in zip(texts, answers, strict=True)]


def tags_of(words: Sequence[str], entities: Sequence[dict[str, Any]]) -> list[str]:
    """From what the pipeline says about the words joined by spaces."""
    by_start = {entity["start"]: entity["entity"] for entity in entities}
    starts = [sum(len(word) + 1 for word in words[:index]) for index in range(len(words))]
    return [by_start.get(start, "O") for start in starts]


def ask_source(checkpoint: Checkpoint, texts: Sequence[Example]) -> list[Any]:
    """Through HF's pipeline."""
    return ask(source_pipeline("token-classification", checkpoint), texts)


def score(answers: Sequence[Any], texts: Sequence[Example], _: Sequence[Any]) -> dict[str, float]:
    """Strict by span."""
    return {"entity F1": entity_f1(answers, [example.gold for example in texts])}


TOKEN_CLASSIFICATION = Evaluator((WORDS, TAGS), examples, ask_source, ask, score)
