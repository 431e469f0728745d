"""From a server's tensors to what the local pipeline would have returned: the same nesting, numbers and types."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.client.connection import Arrays

Answers = list[Any]  # one for each item


def from_json(arrays: Arrays, arguments: dict[str, Any]) -> Answers:
    """The answers as JSON says them."""
    return [json.loads(line) for line in arrays["json"].reshape(-1)]


def labels(arrays: Arrays, arguments: dict[str, Any]) -> Answers:
    """Without `top_k` the best label alone, as in HF."""
    answers, top_k = from_json(arrays, arguments), arguments.get("top_k", "")
    return answers if top_k is None or isinstance(top_k, int) else [answer[0] for answer in answers]


def entities(arrays: Arrays, arguments: dict[str, Any]) -> Answers:
    """Scores are float32, as in HF."""
    return [
        [{name: np.float32(value) if name == "score" else value for name, value in entity.items()} for entity in answer]
        for answer in from_json(arrays, arguments)
    ]


def features(arrays: Arrays, arguments: dict[str, Any]) -> Answers:
    """Hidden states `[1, tokens, size]` of one item, as lists or arrays."""
    states = [row[None] for row in arrays["features"]]
    return states if arguments.get("return_tensors") else [state.tolist() for state in states]


def vectors(arrays: Arrays, arguments: dict[str, Any]) -> Answers:
    """Embeddings, as lists or arrays."""
    found = list(arrays["embedding"])
    return found if arguments.get("return_tensors") else [vector.tolist() for vector in found]


def features_as_json(arrays: Arrays, arguments: dict[str, Any]) -> Answers:
    """Hidden states from a model of another task, which has no tensor for them."""
    states = from_json(arrays, arguments)
    return [np.array(state, np.float32) for state in states] if arguments.get("return_tensors") else states


# task: the outputs to ask for, and how to read them; JSON for all others.
READERS: dict[str, tuple[list[str], Callable[[Arrays, dict[str, Any]], Answers]]] = {
    "text-classification": (["json"], labels),
    "token-classification": (["json"], entities),
    "feature-extraction": (["features"], features),
    "sentence-similarity": (["embedding"], vectors),
}
JSON = (["json"], from_json)
# The same on a bundle that was exported for another task: there is JSON only.
ELSEWHERE = {"feature-extraction": (["json"], features_as_json)}
