"""Masked-token accuracy: 15 % of a text's tokens are masked, always the same; how many does the model get right?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exporter.evaluation.base import Evaluator, Example, Sheet
from exporter.evaluation.language_model import TEXT
from exporter.loading import Checkpoint
from runtime.errors import InputError

SHARE = 0.15
Feeds = dict[str, np.ndarray]


def examples(sheet: Sheet) -> list[Example]:
    """One text a row."""
    return [Example(sheet.text(index, "text")) for index in range(len(sheet))]


def hits(feeds: Feeds, seed: int, tokenizer: Any, logits: Callable[[Feeds], np.ndarray]) -> tuple[int, int]:
    """(tokens that were right, tokens that were masked) of one text; feeds: int64 `[1, tokens]` by input name."""
    ids = feeds["input_ids"][0]
    plain = np.flatnonzero(~np.isin(ids, [token for token in tokenizer.all_special_ids if token is not None]))
    if not len(plain):
        return 0, 0
    chosen = np.random.default_rng(seed).choice(plain, max(1, round(SHARE * len(plain))), replace=False)
    masked = ids.copy()
    masked[chosen] = tokenizer.mask_token_id
    best = logits({**feeds, "input_ids": masked[None]})[chosen].argmax(-1)
    return int((best == ids[chosen]).sum()), len(chosen)


def ask_source(checkpoint: Checkpoint, texts: Sequence[Example]) -> list[Any]:
    """torch's guesses."""
    import torch

    tokenizer, model = checkpoint.tokenizer, checkpoint.model

    def logits(feeds: Feeds) -> np.ndarray:
        tensors = {name: torch.tensor(array, device=model.device) for name, array in feeds.items()}
        found: np.ndarray = model(**tensors).logits[0].float().cpu().numpy()
        return found

    with torch.no_grad():
        found = [
            hits(encoded(tokenizer, example.inputs), index, tokenizer, logits) for index, example in enumerate(texts)
        ]
    if not sum(count for _, count in found):
        raise InputError("masked-token accuracy needs texts with words: the evaluation data has none")
    return found


def ask_bundle(pipe: Any, texts: Sequence[Example]) -> list[Any]:
    """The bundle's guesses."""

    def logits(feeds: Feeds) -> np.ndarray:
        found: np.ndarray = pipe.forward(feeds)["logits"][0]
        return found

    rows = enumerate(texts)
    return [hits(encoded(pipe.tokenizer, row.inputs), index, pipe.tokenizer, logits) for index, row in rows]


def encoded(tokenizer: Any, text: str) -> Feeds:
    """int64 `[1, tokens]` by input name, cut to the model's length."""
    encoding = tokenizer(text, truncation=True)
    return {name: np.array(encoding[name], np.int64)[None] for name in encoding if name != "special_tokens_mask"}


def score(answers: Sequence[Any], _: Sequence[Example], __: Sequence[Any]) -> dict[str, float]:
    """Share of masked tokens that were right."""
    right, count = (sum(column) for column in zip(*answers, strict=True))
    return {"masked-token accuracy": 100 * right / count}


FILL_MASK = Evaluator((TEXT,), examples, ask_source, ask_bundle, score)
