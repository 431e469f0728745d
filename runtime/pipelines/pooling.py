"""From hidden states of tokens to one vector per text, and similarities between vectors.

Source: the modules that sentence-transformers writes beside its checkpoints (`modules.json`, `1_Pooling/config.json`);
modes and their order are those of its `Pooling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
TINY = 1e-9  # keeps a text without tokens, or a vector of zeros, from dividing by zero


def mean(states: Floats, mask: Floats) -> Floats:
    """Average over the tokens."""
    return np.asarray((states * mask[..., None]).sum(1) / np.maximum(mask.sum(1, keepdims=True), TINY))


def mean_sqrt_len(states: Floats, mask: Floats) -> Floats:
    """Sum over the tokens, divided by the square root of their number."""
    return np.asarray((states * mask[..., None]).sum(1) / np.sqrt(np.maximum(mask.sum(1, keepdims=True), TINY)))


def weighted_mean(states: Floats, mask: Floats) -> Floats:
    """Average with weights 1, 2, 3, ...: later tokens of a decoder have seen more."""
    weights = mask * np.arange(1, mask.shape[1] + 1, dtype=np.float32)
    return np.asarray((states * weights[..., None]).sum(1) / np.maximum(weights.sum(1, keepdims=True), TINY))


def maximum(states: Floats, mask: Floats) -> Floats:
    """Largest value of every dimension over the tokens."""
    return np.asarray(np.where(mask[..., None] > 0, states, np.float32(-1e9)).max(1))


def first(states: Floats, mask: Floats) -> Floats:
    """The first token ([CLS])."""
    index = mask.argmax(1)
    return np.asarray(states[np.arange(len(states)), index])


def last(states: Floats, mask: Floats) -> Floats:
    """The last token that is no padding."""
    index = mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    return np.asarray(states[np.arange(len(states)), index])


POOLINGS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "cls": first,
    "max": maximum,
    "mean": mean,
    "mean_sqrt_len_tokens": mean_sqrt_len,
    "weightedmean": weighted_mean,
    "lasttoken": last,
}


def pool(states: Floats, mask: npt.NDArray[np.int64], modes: Sequence[str], normalize: bool) -> Floats:
    """Hidden states float32 `[batch, tokens, size]` -> vectors `[batch, size]`, several modes side by side.

    mask: `[batch, tokens]`, 0 for padding.
    """
    weights = mask.astype(np.float32)
    vectors = np.concatenate([POOLINGS[mode](states, weights) for mode in modes], axis=-1).astype(np.float32)
    return unit(vectors) if normalize else vectors


def unit(vectors: Floats) -> Floats:
    """Vectors of length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


SIMILARITIES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "cosine": lambda one, many: unit(many) @ unit(one),
    "dot": lambda one, many: many @ one,
    "euclidean": lambda one, many: -np.linalg.norm(many - one, axis=-1),
    "manhattan": lambda one, many: -np.abs(many - one).sum(-1),
}
