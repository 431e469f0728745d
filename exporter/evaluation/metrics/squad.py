"""Exact match and F1 of answers, as SQuAD 1.1 and 2.0 define them (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, without a, an and the, single spaces."""
    bare = text.lower().translate(PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact(found: str, gold: str) -> float:
    """1 for the same answer."""
    return float(normalise(found) == normalise(gold))


def overlap(found: str, gold: str) -> float:
    """F1 of the words; where either side is empty, 1 if both are."""
    a, b = normalise(found).split(), normalise(gold).split()
    if not a or not b:
        return float(a == b)
    common = (Counter(a) & Counter(b)).total()
    return 2 * common / (len(a) + len(b))


def exact_match(found: Sequence[str], golds: Sequence[Sequence[str]]) -> float:
    """In per cent; each answer against the gold that suits it best."""
    return best(exact, found, golds)


def f1(found: Sequence[str], golds: Sequence[Sequence[str]]) -> float:
    """In per cent; each answer against the gold that suits it best."""
    return best(overlap, found, golds)


def best(score: Callable[[str, str], float], found: Sequence[str], golds: Sequence[Sequence[str]]) -> float:
    """Mean over questions of the best score; a question without golds has no answer."""
    scores = [max(score(answer, gold) for gold in (texts or [""])) for answer, texts in zip(found, golds, strict=True)]
    return 100 * float(np.mean(scores))
