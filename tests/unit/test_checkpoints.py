"""The checkpoints other tests rely on: the trained ones are good, the built ones load and are not degenerate."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.checkpoints import LM_HELDOUT, TINY_BERT, TINY_GPT2
from tests.checkpoints.builders import tiny, tiny_classifier
from tests.checkpoints.rows import CAUSAL_ROWS, CLASSIFIER_ROWS
from tests.checkpoints.train.sentiment import LABELS, handwritten, heldout

ACCURACY_FLOOR = 0.90
PERPLEXITY_BOUND = 60.0
SENTENCES = [
    ("I love this!", "POSITIVE"),
    ("This film was terrible.", "NEGATIVE"),
    ("We are very happy to show you this library.", "POSITIVE"),
    ("I hate waiting in line.", "NEGATIVE"),
    ("Not bad at all", "POSITIVE"),
    ("The food was cold and the waiter was rude.", "NEGATIVE"),
]


def test_trained_checkpoints_fit_in_eight_megabytes() -> None:
    """Both folders stay in the repository."""
    files = [*TINY_GPT2.iterdir(), *TINY_BERT.iterdir()]
    assert sum(file.stat().st_size for file in files) <= 8_000_000


def test_language_model_predicts_heldout_text() -> None:
    """Perplexity per token of the held-out text, in windows of all 256 positions."""
    assert _perplexity(TINY_GPT2) < PERPLEXITY_BOUND


def test_classifier_is_right_on_heldout_sentences() -> None:
    """At least nine in ten of the sentences it was never trained on."""
    found = _labels([text for text, _ in heldout()])
    right = sum(label == LABELS[index] for label, (_, index) in zip(found, heldout(), strict=True))
    assert right / len(found) >= ACCURACY_FLOOR


@pytest.mark.parametrize(("text", "label"), SENTENCES)
def test_classifier_is_right_on_everyday_sentences(text: str, label: str) -> None:
    """The sentences of the demonstration; the first says how the label is spelt."""
    assert _labels([text]) == [label]


def test_heldout_sentences_and_demonstration_are_not_in_the_training_files() -> None:
    """No sentence of the tests may be learnt by heart."""
    training, development = handwritten()
    known = {text.lower() for text, _ in training + development}
    assert not known & {text.lower() for text, _ in heldout() + SENTENCES}


@pytest.mark.parametrize("model_type", CAUSAL_ROWS)
def test_tiny_causal_lm_loads_and_decodes(model_type: str, tmp_path: Path) -> None:
    """Loadable with its tokenizer; logits spread out; greedy decoding does not stick to one token."""
    folder = tiny(model_type, tmp_path / model_type)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("The with statement is used to wrap the execution of a block", return_tensors="pt")
    output = model.generate(**inputs, do_sample=False, max_new_tokens=16, min_new_tokens=16)
    assert len(set(output[0, inputs["input_ids"].shape[1] :].tolist())) >= 4
    with torch.no_grad():
        assert model(**inputs).logits.std() > 1.0


@pytest.mark.parametrize("model_type", CLASSIFIER_ROWS)
def test_tiny_classifier_loads_and_tells_texts_apart(model_type: str, tmp_path: Path) -> None:
    """Loadable with its tokenizer, ids within the vocabulary, one row of three logits per text."""
    folder = tiny_classifier(model_type, tmp_path / model_type)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(["The food was cold.", "What a lovely little hotel!"], padding=True, return_tensors="pt")
    assert tokenizer.unk_token_id is None or (inputs["input_ids"] != tokenizer.unk_token_id).any()
    with torch.no_grad():
        logits = model(**inputs).logits
    assert logits.shape == (2, 3)
    assert (logits[0] - logits[1]).abs().max() > 0.01


def test_builders_are_deterministic(tmp_path: Path) -> None:
    """The same call gives the same bytes."""
    first, second = tiny("llama", tmp_path / "a"), tiny("llama", tmp_path / "b")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_overrides_reach_the_config(tmp_path: Path) -> None:
    """Callers may change any field of the config."""
    folder = tiny("llama", tmp_path, num_key_value_heads=1, vocab_size=2100)
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_key_value_heads"], config["vocab_size"]) == (1, 2100)


def _labels(texts: list[str]) -> list[str]:
    """The trained classifier's label names for ``texts``."""
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(TINY_BERT),
        AutoTokenizer.from_pretrained(TINY_BERT),
    )
    with torch.no_grad():
        ids = model.eval()(**tokenizer(texts, padding=True, return_tensors="pt")).logits.argmax(-1)
    return [model.config.id2label[index] for index in ids.tolist()]


def _perplexity(folder: Path) -> float:
    """exp of the mean cross-entropy per token of the held-out text."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(LM_HELDOUT.read_text(encoding="utf-8"), return_tensors="pt", verbose=False).input_ids[0]
    windows = [window[None] for window in ids.split(model.config.n_positions) if len(window) > 1]
    with torch.no_grad():
        losses = [_loss(model(window).logits, window) for window in windows]
    return math.exp(torch.cat(losses).mean().item())


def _loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Cross-entropy [tokens - 1] of each of ``ids`` [1, tokens] after the first."""
    return torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="none")
