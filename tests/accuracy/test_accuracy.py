"""What counts in the end: accuracy and perplexity on held-out text, of the bundles against torch, within budgets."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from runtime import pipeline
from tests.accuracy.metrics import accuracy, token_losses, windows
from tests.checkpoints import SENTIMENT_HELDOUT

BUDGETS: dict[str, dict[str, float]] = json.loads(Path(__file__).with_name("budgets.json").read_text())


# ---- sentiment


def test_sentiment_accuracy(classifier_bundle: Path, classifier_checkpoint: Path) -> None:
    """The same answers as torch, sentence by sentence, and enough of them right."""
    rows = [json.loads(line) for line in SENTIMENT_HELDOUT.read_text(encoding="utf-8").splitlines()]
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    assert len(set(labels)) == 2 and len(texts) >= 50
    found = [answer["label"] for answer in pipeline("text-classification", classifier_bundle)(texts, batch_size=8)]
    expected = torch_labels(classifier_checkpoint, texts)
    budget = BUDGETS["sentiment accuracy"]
    assert abs(accuracy(found, labels) - accuracy(expected, labels)) <= budget["difference_to_torch"]
    assert accuracy(found, labels) >= budget["floor"]
    assert found == expected


def torch_labels(checkpoint: Path, texts: list[str]) -> list[str]:
    """torch's label of each text, run alone."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    with torch.no_grad():
        best = [int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()) for text in texts]
    return [model.config.id2label[index] for index in best]


# ---- language model


@pytest.fixture(scope="module")
def half_bundle(causal_lm_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The causal LM in fp16."""
    from exporter import export

    output = tmp_path_factory.mktemp("half")
    return export(causal_lm_checkpoint, task="text-generation", output=output, name="half", precision="fp16")


@pytest.mark.parametrize(("bundle", "precision"), [("causal_lm_bundle", "fp32"), ("half_bundle", "fp16")])
def test_perplexity(bundle: str, precision: str, causal_lm_checkpoint: Path, request: pytest.FixtureRequest) -> None:
    """Against torch in float32, in windows as long as the context."""
    pipe: Any = pipeline("text-generation", request.getfixturevalue(bundle))
    assert pipe.manifest.precision == precision
    expected = torch_perplexity(causal_lm_checkpoint)
    losses = [token_losses(pipe.model.runner.score(window), window) for window in windows(causal_lm_checkpoint)]
    found = math.exp(float(np.concatenate(losses).mean()))
    budget = BUDGETS[f"perplexity {precision}"]
    assert abs(found / expected - 1) <= budget["relative_difference_to_torch"]
    assert found <= budget["ceiling"]


@cache
def torch_perplexity(checkpoint: Path) -> float:
    """torch's, in float32."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = [model(torch.tensor(window)[None]).logits[0].numpy() for window in windows(checkpoint)]
    pairs = zip(logits, windows(checkpoint), strict=True)
    return math.exp(float(np.concatenate([token_losses(found, ids) for found, ids in pairs]).mean()))
