"""Perplexity of a language model: texts in windows, each scored from its second token on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exporter.evaluation.base import Evaluator, Example, Sheet
from exporter.evaluation.columns import Role
from exporter.loading import Checkpoint
from exporter.validation.causal_lm import logits_of
from exporter.validation.checks import log_softmax
from runtime.errors import InputError

TEXT = Role("text", ("content", "document", "sentence", "body", "page"))
LOGITS = 2**25  # numbers of a window's logits at most, 128 MB: shorter windows for large vocabularies
LONGEST, SHORTEST = 1024, 64
ROWS = 64
Logits = Callable[[np.ndarray], np.ndarray]


def examples(sheet: Sheet) -> list[Example]:
    """One text a row."""
    return [Example(sheet.text(index, "text")) for index in range(len(sheet))]


def window_length(context: int, vocabulary: int) -> int:
    """Tokens of a window: the context, as far as memory for the logits allows."""
    return min(context, LONGEST, max(LOGITS // vocabulary, SHORTEST))


def losses(ids: np.ndarray, size: int, logits: Logits) -> tuple[float, int]:
    """(sum of negative log-likelihoods in nats, tokens that were predicted) of one text."""
    total, count = 0.0, 0
    for start in range(0, len(ids) - 1, size):
        window = ids[start : start + size]
        if len(window) > 1:
            total += window_loss(logits(window), window)
            count += len(window) - 1
    return total, count


def window_loss(logits: np.ndarray, ids: np.ndarray) -> float:
    """Sum over all tokens but the first, in blocks of rows."""
    total = 0.0
    for cut in range(0, len(ids) - 1, ROWS):
        targets = ids[cut + 1 : cut + 1 + ROWS]
        rows = log_softmax(logits[cut : cut + len(targets)].astype(np.float64))
        total -= float(rows[np.arange(len(targets)), targets].sum())
    return total


def ask_source(checkpoint: Checkpoint, texts: Sequence[Example]) -> list[Any]:
    """torch's losses."""
    import torch

    from exporter.tracing.causal_lm import context_length

    model = checkpoint.model
    size = window_length(context_length(model), model.config.get_text_config().vocab_size)
    tokenised = [np.array(checkpoint.tokenizer(example.inputs, verbose=False)["input_ids"]) for example in texts]
    with torch.no_grad():
        found = [losses(ids, size, lambda window: logits_of(model, window)) for ids in tokenised]
    if not sum(count for _, count in found):
        raise InputError("perplexity needs a text of two tokens or more: the evaluation data has none")
    return found


def ask_bundle(pipe: Any, texts: Sequence[Example]) -> list[Any]:
    """The bundle's losses, in windows that its context may cut shorter."""
    runner = pipe.model.runner
    size = window_length(runner.max_length, runner.vocab_size)
    return [losses(np.array(pipe.tokenizer(example.inputs)["input_ids"]), size, runner.score) for example in texts]


def score(answers: Sequence[Any], _: Sequence[Example], __: Sequence[Any]) -> dict[str, float]:
    """exp of the mean loss of a token."""
    total, count = (sum(column) for column in zip(*answers, strict=True))
    return {"perplexity": math.exp(min(total / count, 700.0))}


TEXT_GENERATION = Evaluator((TEXT,), examples, ask_source, ask_bundle, score, frozenset({"perplexity"}))
