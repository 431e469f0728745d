"""Texts with several labels each: micro and macro F1, and the share of texts whose labels are all right.

A label is predicted where its probability, a sigmoid's, is above one half: as scikit-learn's metrics are fed in
Hugging Face's examples of `problem_type="multi_label_classification"`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from exporter.evaluation.base import BATCH, Example, Sheet
from exporter.evaluation.metrics.classification import accuracy, label_f1s, micro_f1
from runtime.errors import InputError

THRESHOLD = 0.5
SEPARATORS = re.compile(r"[,;|]")


def labels_of(sheet: Sheet, index: int) -> frozenset[str]:
    """The gold labels of a row, by the model's names.

    A list of names or numbers; one 0 or 1 for each label of the model, as `Trainer` takes them; or a text with names
    between commas, semicolons or bars. An empty cell says that there are none.
    """
    value = cell(sheet, index)
    if isinstance(value, str):
        value = [part.strip() for part in SEPARATORS.split(value) if part.strip()]
    values = value if isinstance(value, list) else [value]
    if is_multi_hot(values, sheet.config.num_labels):
        values = [number for number, on in enumerate(values) if on]
        return frozenset(str(sheet.config.id2label[number]) for number in values)
    return frozenset(sheet.label(index, one, "label") for one in values)


def cell(sheet: Sheet, index: int) -> Any:
    """What the row says; an empty list for an empty cell, which CSV files leave out."""
    try:
        return sheet.get(index, "label")
    except InputError:
        return []


def is_multi_hot(values: Sequence[Any], labels: int) -> bool:
    """Whether there is a 0 or 1 for every label; `[0, 1]` of a model with two labels means the second alone."""
    return len(values) == labels and all(isinstance(one, int | float) and one in (0, 1) for one in values)


def ask(pipe: Any, examples: Sequence[Example]) -> list[dict[str, float]]:
    """The probability of every label, for each text."""
    texts = [example.inputs for example in examples]
    answers = pipe(texts, top_k=None, function_to_apply="sigmoid", truncation=True, batch_size=BATCH)
    return [{one["label"]: one["score"] for one in answer} for answer in answers]


def score(answers: Sequence[dict[str, float]], examples: Sequence[Example]) -> dict[str, float]:
    """F1 over all decisions, its mean over the model's labels, and the share of texts that are right entirely."""
    found = [frozenset(label for label, share in answer.items() if share > THRESHOLD) for answer in answers]
    gold = [example.gold for example in examples]
    f1s = label_f1s(found, gold, sorted(answers[0]))
    return {
        "micro F1": micro_f1(found, gold),
        "macro F1": sum(f1s) / len(f1s),
        "subset accuracy": accuracy(found, gold),
    }
