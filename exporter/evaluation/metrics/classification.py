"""Accuracy, macro F1 and correlation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np


def accuracy(found: Sequence[Hashable], gold: Sequence[Hashable]) -> float:
    """Share of equal pairs, in per cent."""
    return 100 * float(np.mean([a == b for a, b in zip(found, gold, strict=True)]))


def macro_f1(found: Sequence[Hashable], gold: Sequence[Hashable]) -> float:
    """Mean over classes of 2 tp / (2 tp + fp + fn), in per cent; classes that occur on either side.

    As scikit-learn's `f1_score(average="macro", zero_division=0)`.
    """
    scores = []
    for label in set(found) | set(gold):
        hits = sum(a == b == label for a, b in zip(found, gold, strict=True))
        scores.append(2 * hits / (list(found).count(label) + list(gold).count(label)))
    return 100 * float(np.mean(scores))


def micro_f1(found: Sequence[AbstractSet[Hashable]], gold: Sequence[AbstractSet[Hashable]]) -> float:
    """2 tp / (2 tp + fp + fn) over every decision about every label, in per cent; 0 where there is none.

    As scikit-learn's `f1_score(average="micro", zero_division=0)` on a 0 or 1 for each label.
    """
    hits = sum(len(a & b) for a, b in zip(found, gold, strict=True))
    total = sum(map(len, found)) + sum(map(len, gold))
    return 200 * hits / total if total else 0.0


def label_f1s(
    found: Sequence[AbstractSet[Hashable]], gold: Sequence[AbstractSet[Hashable]], labels: Sequence[Hashable]
) -> list[float]:
    """F1 of each label, in per cent; 0 for one that occurs on neither side, as scikit-learn's `average=None`."""
    return [micro_f1([{label} & one for one in found], [{label} & one for one in gold]) for label in labels]


def pearson(found: Sequence[float], gold: Sequence[float]) -> float:
    """Linear correlation, times 100; 0 where one side does not vary."""
    a, b = np.asarray(found, float), np.asarray(gold, float)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return 100 * float((a * b).sum()) / scale if scale else 0.0


def spearman(found: Sequence[float], gold: Sequence[float]) -> float:
    """Correlation of ranks, times 100; equal values share their mean rank."""
    return pearson(ranks(found), ranks(gold))


def ranks(values: Sequence[float]) -> list[float]:
    """Mean rank of each value among all."""
    array = np.asarray(values, float)
    _, places, counts = np.unique(array, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: list[float] = (ends - (counts - 1) / 2)[places].tolist()
    return means
