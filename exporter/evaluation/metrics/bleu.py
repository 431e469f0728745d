"""BLEU by the sacrebleu library, with its defaults: 13a tokens, exponential smoothing."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import InputError


def bleu(found: Sequence[str], golds: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU in [0, 100]; texts may have different numbers of references."""
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise InputError("scoring translations needs sacrebleu: pip install sacrebleu") from error
    most = max(len(texts) for texts in golds)
    streams = [[texts[place] if place < len(texts) else None for texts in golds] for place in range(most)]
    return float(BLEU().corpus_score(list(found), streams).score)  # type: ignore[arg-type]  # None: no such reference
