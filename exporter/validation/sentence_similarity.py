"""Validation of sentence embeddings: hidden states, and vectors pooled in torch as the checkpoint declares.

HF has no pipeline for this task: the reference is `pooled`, written against sentence-transformers' description.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.sentences import sentence_facts
from exporter.validation.checks import Check
from exporter.validation.encoders import Reference, compare_features, compare_outputs, outputs_of
from exporter.validation.text_classification import TEXTS
from runtime.pipelines.sentence_similarity import SentenceSimilarityPipeline

if TYPE_CHECKING:
    import torch


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32."""
    import torch

    facts = sentence_facts(Path(checkpoint.source.location))
    limit = {"max_length": facts["max_seq_length"]} if "max_seq_length" in facts else {}
    with quiet():
        outputs = [outputs_of(checkpoint, prepared(text, facts), **limit) for text in TEXTS]
    vectors = [pooled(torch.from_numpy(output["last_hidden_state"]), facts) for output in outputs]
    return Reference(outputs, [(list(TEXTS), {}, vectors)])


def prepared(text: str, facts: dict[str, Any]) -> str:
    """The text with its prompt, in lower case where the checkpoint wants that."""
    text = facts.get("prompt", "") + text
    return text.lower() if facts.get("do_lower_case") else text


def pooled(states: torch.Tensor, facts: dict[str, Any]) -> np.ndarray:
    """The vector of one text from its hidden states `[tokens, size]`, without padding."""
    import torch

    places = torch.arange(1, len(states) + 1, dtype=states.dtype)[:, None]
    by_mode = {
        "cls": lambda: states[0],
        "max": lambda: states.amax(0),
        "mean": lambda: states.mean(0),
        "mean_sqrt_len_tokens": lambda: states.sum(0) / len(states) ** 0.5,
        "weightedmean": lambda: (states * places).sum(0) / places.sum(),
        "lasttoken": lambda: states[-1],
    }
    vector = torch.cat([by_mode[mode]() for mode in facts["pooling"]])
    vector = torch.nn.functional.normalize(vector, dim=0) if facts["normalize"] else vector
    found: np.ndarray = vector.numpy()
    return found


def compare(reference: Reference, pipe: SentenceSimilarityPipeline, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    items = [pipe.preprocess(text) for text in TEXTS]
    _, _, expected = reference.answers[0]
    found = pipe(list(TEXTS), batch_size=len(TEXTS), return_tensors=True)
    vectors = compare_features("embeddings", np.stack(expected), np.stack(found), precision)
    return [
        *compare_outputs(reference, pipe, items, precision, compare_features),
        Check("answers", "sentence-similarity pipeline", vectors.passed, vectors.figures, vectors.detail),
    ]
