"""ROUGE-L (Lin 2004): F1 of the longest common subsequence of words, tokenised as Google's rouge-score does."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


def rouge_l(found: Sequence[str], gold: Sequence[str]) -> float:
    """Mean over texts, times 100."""
    return 100 * float(np.mean([f_measure(a, b) for a, b in zip(found, gold, strict=True)]))


def f_measure(found: str, gold: str) -> float:
    """Of one pair, in [0, 1]; 0 where either has no words."""
    a, b = words(found), words(gold)
    common = longest_common(a, b)
    return 2 * common / (len(a) + len(b)) if common else 0.0


def words(text: str) -> list[str]:
    """Runs of ASCII letters and digits in lower case; no stemming."""
    return re.findall(r"[a-z0-9]+", text.lower())


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, row by row of the usual table."""
    row = [0] * (len(b) + 1)
    for left in a:
        diagonal = 0
        for index, right in enumerate(b, 1):
            above = row[index]
            row[index] = diagonal + 1 if left == right else max(above, row[index - 1])
            diagonal = above
    return row[-1]
