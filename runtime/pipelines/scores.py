"""From logits to scores, for texts and images alike (transformers 5.23 `pipelines/text_classification.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.bundle import Manifest
from runtime.errors import InputError


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Elementwise logistic function."""
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": sigmoid,
    "softmax": softmax,
    "none": lambda logits: logits,
}


def function_name(function: Any) -> str:
    """One of `FUNCTIONS`, whatever its case. HF raises `KeyError('FOO')`; this says what there is."""
    name = str(getattr(function, "name", function)).lower()
    if name not in FUNCTIONS:
        raise InputError(f"function_to_apply {function!r} is unknown: use one of {', '.join(FUNCTIONS)}")
    return name


def default_function(manifest: Manifest) -> str:
    """The function of a model whose user names none: by its `problem_type`, or by its number of labels."""
    problem = manifest.postprocess.get("problem_type")
    if problem == "regression":
        return "none"
    if problem == "multi_label_classification" or len(manifest.labels) == 1:
        return "sigmoid"
    return "softmax"
