"""Architectures: each is exported with validation, takes the path it should, and gives transformers' tokens.

The tables below say which path each model type takes. An export costs 5 to 20 seconds, so the default run takes the
types in `ALWAYS`, one for each thing that can go wrong; ONWARD_ALL_ARCHITECTURES=1 runs all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from runtime import pipeline
from runtime.bundle import Manifest, open_bundle
from runtime.generation.config import resolve
from runtime.session import close_sessions
from tests.checkpoints.builders import tiny, tiny_classifier
from tests.checkpoints.rows import CAUSAL_ROWS, CLASSIFIER_ROWS

ALL = os.environ.get("ONWARD_ALL_ARCHITECTURES") == "1"
# Windows and soft caps; sinks and experts; shifted positions; states without a prefill graph; ALiBi and its own cache.
# Classifiers: shifted positions; causal, so padding matters; windows in both directions.
ALWAYS = {"gemma2", "gpt_oss", "opt", "mamba", "bloom", "roberta", "gpt2-classifier", "modernbert"}
LAYERS = 2
DATA_LIMIT = 1.05  # bytes of the data file over those of the parameters: weights are stored once

CAUSAL: dict[str, str] = {
    "gpt2": "emission",
    "llama": "emission",
    "qwen2": "emission",
    "qwen3": "emission",
    "gemma2": "emission",
    "gemma3_text": "emission",
    "mistral": "emission",
    "opt": "emission",
    "gpt_neox": "emission",
    "phi3": "emission",
    "mixtral": "emission",
    "gpt_oss": "emission",
    "qwen2_moe": "emission",
    "qwen3_moe": "emission",
    "olmoe": "emission",
    "stablelm": "emission",
    "olmo": "emission",
    "starcoder2": "emission",
    "phi": "emission",
    "bloom": "fallback",  # builds ALiBi and its mask itself
    "mamba": "fallback",  # no attention: states of fixed sizes
    "falcon": "fallback",  # own attention code
    "gptj": "fallback",
    "codegen": "fallback",
    "gpt_neo": "fallback",
    "mpt": "fallback",
}
CLASSIFIERS: dict[str, str] = {
    "bert": "emission",
    "roberta": "emission",
    "distilbert": "emission",
    "albert": "emission",
    "electra": "emission",
    "xlm-roberta": "emission",
    "modernbert": "emission",  # sliding windows in both directions
    "gpt2": "emission",  # causal
    "llama": "emission",
    "deberta-v2": "plain",  # disentangled attention
    "mpnet": "plain",  # own attention code, with relative positions
}

# Every one of them leaves a sliding window of 8 tokens far behind; different lengths share their steps.
PROMPTS = [
    "A literal pattern corresponds to most literals in Python. The rule strings and the token NUMBER are defined in "
    "the standard grammar, and formatted string literals are not supported here.",
    "The with statement is used to wrap the execution of a block",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)\n\nprint(",
]
GENERATION = {"greedy": {"max_new_tokens": 24}, "3 beams": {"num_beams": 3, "max_new_tokens": 16}}
TEXTS = [
    "The food was cold.",
    "What a lovely little hotel! We stayed for a week, walked to the beach every morning, and did not want to leave.",
    "ok",
]


@dataclass
class Exported:
    """A checkpoint and its bundle."""

    checkpoint: Path
    directory: Path
    manifest: Manifest

    def assert_stored_once(self) -> None:
        """The data file holds each parameter once."""
        data = sum(path.stat().st_size for path in self.directory.rglob("*.data"))
        assert 0 < data <= DATA_LIMIT * (self.checkpoint / "model.safetensors").stat().st_size


def choose(types: dict[str, str], suffix: str = "") -> list[Any]:
    """Parameters for a fixture: all types, those not in the default run marked as skipped with the reason."""
    skip = pytest.mark.skip(reason="not in the default run: ONWARD_ALL_ARCHITECTURES=1 runs all architectures")
    always = {name for name in types if name in ALWAYS - {"gpt2"} or name + suffix in ALWAYS}
    return [pytest.param(name, marks=() if ALL or name in always else skip) for name in types]


def export_one(checkpoint: Path, task: str, folder: Path, precision: str = "fp32") -> Exported:
    from exporter import export

    directory = export(checkpoint, task=task, output=folder, name="tiny", precision=precision)
    return Exported(checkpoint, directory, open_bundle(directory).manifest)


def test_the_tables_hold_every_builder() -> None:
    assert CAUSAL.keys() == CAUSAL_ROWS.keys()
    assert CLASSIFIERS.keys() == CLASSIFIER_ROWS.keys()


# ---- causal LMs


@pytest.fixture(scope="module", params=choose(CAUSAL))
def causal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Exported]]:
    folder = tmp_path_factory.mktemp(request.param)
    yield request.param, export_one(tiny(request.param, folder / "checkpoint"), "text-generation", folder)
    close_sessions()


def test_causal_path(causal: tuple[str, Exported]) -> None:
    """The path in the table; on emission the fast operator in every layer; validated; weights stored once."""
    model_type, exported = causal
    manifest = exported.manifest
    assert manifest.path == CAUSAL[model_type], manifest.path_reason
    assert manifest.path_reason
    assert manifest.validation["passed"] is True
    if manifest.path == "emission":
        assert manifest.graphs["model"].nodes["GroupQueryAttention"] == LAYERS
    exported.assert_stored_once()


@pytest.mark.parametrize("options", GENERATION.values(), ids=GENERATION)
def test_causal_tokens(causal: tuple[str, Exported], options: dict[str, Any]) -> None:
    """Prompts of different lengths in one batch, each with the tokens that `generate()` gives it alone."""
    exported = causal[1]
    model = AutoModelForCausalLM.from_pretrained(exported.checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(exported.checkpoint)
    prompts = [np.array(tokenizer(text)["input_ids"]) for text in PROMPTS]
    assert min(len(ids) for ids in prompts) > 8
    pipe: Any = pipeline("text-generation", exported.directory)
    config = resolve(pipe.manifest.generation, do_sample=False, **options)
    found = [group[0].tokens for group in pipe.model.generate(prompts, config)]
    pipe.close()
    assert found == [generate(model, ids, options) for ids in prompts]


def test_states_of_mixed_types(tmp_path: Path) -> None:
    """Mamba in fp16 keeps its recurrent states in float32; the runtime starts each from zeros of its own type."""
    exported = export_one(tiny("mamba", tmp_path / "checkpoint"), "text-generation", tmp_path, "fp16")
    cache, graph = exported.manifest.cache, exported.manifest.graphs["decode"]
    assert cache is not None and cache.initial_states
    assert {spec.dtype for spec in graph.inputs if spec.name in cache.initial_states} == {"float16", "float32"}
    assert exported.manifest.validation["passed"] is True
    close_sessions()


def generate(model: Any, ids: np.ndarray, options: dict[str, Any]) -> list[int]:
    """transformers' new tokens for one prompt, without the padding after the end token."""
    inputs = torch.tensor(ids)[None]
    with torch.no_grad():
        output = model.generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False, **options)
    tokens: list[int] = output[0, len(ids) :].tolist()
    end = model.generation_config.eos_token_id
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


# ---- classifiers


@pytest.fixture(scope="module", params=choose(CLASSIFIERS, "-classifier"))
def classifier(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Exported]]:
    folder = tmp_path_factory.mktemp(request.param)
    yield (
        request.param,
        export_one(tiny_classifier(request.param, folder / "checkpoint"), "text-classification", folder),
    )
    close_sessions()


def test_classifier_path(classifier: tuple[str, Exported]) -> None:
    model_type, exported = classifier
    manifest = exported.manifest
    assert manifest.path == CLASSIFIERS[model_type], manifest.path_reason
    assert manifest.validation["passed"] is True
    if manifest.path == "emission":
        assert manifest.graphs["model"].nodes["MultiHeadAttention"] == LAYERS
    exported.assert_stored_once()


def test_classifier_logits(classifier: tuple[str, Exported]) -> None:
    """A padded batch, a pair and single texts, against the model on each text alone."""
    exported = classifier[1]
    model = AutoModelForSequenceClassification.from_pretrained(exported.checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(exported.checkpoint)
    pipe: Any = pipeline("text-classification", exported.directory)
    items: list[Any] = [*TEXTS, {"text": TEXTS[0], "text_pair": TEXTS[2]}]
    expected = [logits(model, tokenizer, item) for item in items]
    prepared = [pipe.preprocess(item) for item in items]
    alone = [pipe.forward(inputs)["logits"][0] for inputs in prepared]
    together = [output["logits"][0] for output in pipe._forward_batch(prepared)]
    np.testing.assert_allclose(np.stack(alone), np.stack(expected), atol=1e-4)
    np.testing.assert_allclose(np.stack(together), np.stack(expected), atol=1e-4)


def logits(model: Any, tokenizer: Any, item: Any) -> np.ndarray:
    """The model's logits `[labels]` for one text or pair."""
    encoded = tokenizer(**item, return_tensors="pt") if isinstance(item, dict) else tokenizer(item, return_tensors="pt")
    with torch.no_grad():
        found: np.ndarray = model(**encoded).logits[0].numpy()
    return found
