"""From the scores of tokens to entities: the five aggregation strategies of token classification.

Source: transformers 5.23 `pipelines/token_classification.py` (`gather_pre_entities`, `aggregate` and what they call).
Scores stay `numpy.float32`, as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.tokenizer import Tokenizer

STRATEGIES = ("none", "simple", "first", "average", "max")
BY_WORD = ("first", "average", "max")

Entity = dict[str, Any]


@dataclass(frozen=True)
class Token:
    """A token of the text. scores: float32 `[labels]`; start, end: its characters."""

    word: str
    scores: npt.NDArray[np.float32]
    start: int
    end: int
    index: int
    continues_word: bool


class Aggregator:
    """Makes the entities of one row of tokens, by one strategy."""

    def __init__(self, labels: list[str], tokenizer: Tokenizer, strategy: str) -> None:
        self._labels = labels
        self._tokenizer = tokenizer
        self._strategy = strategy

    def entities(self, tokens: list[Token]) -> list[Entity]:
        """One entity per token with "none", otherwise one per group of neighbours with the same tag."""
        if self._strategy in BY_WORD:
            return self._groups([self._word(word) for word in words_of(tokens)])
        each = [self._token(token) for token in tokens]
        return each if self._strategy == "none" else self._groups(each)

    def _token(self, token: Token) -> Entity:
        best = token.scores.argmax()
        return {
            "entity": self._labels[best],
            "score": token.scores[best],
            "index": token.index,
            "word": token.word,
            "start": token.start,
            "end": token.end,
        }

    def _word(self, tokens: list[Token]) -> Entity:
        """One label for all tokens of a word."""
        scores = self._word_scores(tokens)
        best = scores.argmax()
        return {
            "entity": self._labels[best],
            "score": scores[best],
            "word": self._tokenizer.convert_tokens_to_string([token.word for token in tokens]),
            "start": tokens[0].start,
            "end": tokens[-1].end,
        }

    def _word_scores(self, tokens: list[Token]) -> Any:
        if self._strategy == "first":
            return tokens[0].scores
        if self._strategy == "max":
            return max(tokens, key=lambda token: token.scores.max()).scores
        return np.nanmean(np.stack([token.scores for token in tokens]), axis=0)

    def _groups(self, entities: list[Entity]) -> list[Entity]:
        groups: list[list[Entity]] = []
        for entity in entities:
            begins, tag = split_tag(entity["entity"])
            if groups and tag == split_tag(groups[-1][-1]["entity"])[1] and not begins:
                groups[-1].append(entity)
            else:
                groups.append([entity])
        return [self._group(group) for group in groups]

    def _group(self, entities: list[Entity]) -> Entity:
        return {
            "entity_group": entities[0]["entity"].split("-", 1)[-1],
            "score": np.mean(np.nanmean([entity["score"] for entity in entities])),
            "word": self._tokenizer.convert_tokens_to_string([entity["word"] for entity in entities]),
            "start": entities[0]["start"],
            "end": entities[-1]["end"],
        }


def split_tag(label: str) -> tuple[bool, str]:
    """("B-" or not, tag without prefix). A label without a prefix counts as the continuation of its tag."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def words_of(tokens: list[Token]) -> list[list[Token]]:
    """Tokens by word: each with those that continue it."""
    words: list[list[Token]] = []
    for token in tokens:
        if words and token.continues_word:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def without_overlaps(entities: list[Entity]) -> list[Entity]:
    """Of entities that overlap, found in neighbouring windows of a text, the longest; of equally long ones the surest.

    As HF does it, each is compared with the one kept before it only.
    """
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda found: found["start"]):
        if not kept or not kept[-1]["start"] <= entity["start"] < kept[-1]["end"]:
            kept.append(entity)
        elif rank(entity) > rank(kept[-1]):
            kept[-1] = entity
    return kept


def rank(entity: Entity) -> tuple[int, float]:
    """Longer first, then surer."""
    return entity["end"] - entity["start"], entity["score"]
