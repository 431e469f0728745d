"""Long texts: a prompt of 10,000 tokens, and a sliding window left far behind, against `generate()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from runtime.bundle import open_bundle
from runtime.generation.config import resolve
from runtime.generation.model import LanguageModel
from tests.checkpoints.builders import tiny
from tests.device import MEMORIES, open_model

WINDOW = 64
CONTEXT = 10_200


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Mistral of random weights whose window is much shorter than its context: checkpoint and bundle."""
    from exporter import export

    folder = tmp_path_factory.mktemp("mistral")
    checkpoint = tiny("mistral", folder / "checkpoint", max_position_embeddings=CONTEXT, sliding_window=WINDOW)
    return checkpoint, export(checkpoint, task="text-generation", output=folder, name="window", validate=False)


@pytest.fixture(scope="module")
def bundle(exported: tuple[Path, Path]) -> Any:
    return open_bundle(exported[1], verify=False)


@pytest.fixture(scope="module")
def reference(exported: tuple[Path, Path]) -> Any:
    model = AutoModelForCausalLM.from_pretrained(exported[0]).eval()

    def generate(ids: np.ndarray, count: int) -> list[int]:
        prompt = torch.tensor(ids)[None]
        mask = torch.ones_like(prompt)
        options = {"do_sample": False, "max_new_tokens": count, "eos_token_id": None}
        with torch.no_grad():
            output = model.generate(prompt, attention_mask=mask, **options)
        return output[0, len(ids) :].tolist()  # type: ignore[no-any-return]

    return generate


def prompt(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([length, seed]).integers(1, 2048, length)


def greedy(model: LanguageModel, ids: np.ndarray, count: int) -> Any:
    return model.request(ids, resolve({}, max_new_tokens=count, eos_token_id=-1))


@pytest.mark.parametrize("memory", MEMORIES)
def test_ten_thousand_tokens_beside_others(bundle: Any, reference: Any, memory: str) -> None:
    """Read in chunks while a short one decodes, a token in every step; then continued from its slot."""
    model = open_model(memory, bundle, 3)
    long = prompt(10_000)
    short = model.engine.submit(greedy(model, prompt(5), 40))
    model.engine.step()
    sequence = model.engine.submit(greedy(model, long, 6))
    steps = 0
    while not sequence.tokens:
        before = len(short.tokens)
        model.engine.step()
        steps += 1
        assert len(short.tokens) == before + 1
    assert steps == -(-10_000 // model.engine.chunk)
    model.engine.run([])
    while model.engine.busy:
        model.engine.step()
    assert sequence.tokens == reference(long, 6)
    assert short.tokens == reference(prompt(5), 40)
    again = greedy(model, np.concatenate([long, sequence.tokens]), 5)
    model.engine.run([again])
    assert model.engine.statistics().reused_tokens == 10_005
    assert again.tokens == reference(again.prompt_ids, 5)


@pytest.mark.parametrize("memory", MEMORIES)
def test_far_beyond_the_window(bundle: Any, reference: Any, memory: str) -> None:
    """Rows inside, at the edge of and beyond the window, in one batch; reused prefixes and guesses among them."""
    model = open_model(memory, bundle, 4)
    prompts = [prompt(length) for length in (1, WINDOW - 5, WINDOW, 3 * WINDOW)]
    sequences = [greedy(model, ids, 3 * WINDOW) for ids in prompts]
    model.engine.run(sequences)
    expected = [reference(ids, 3 * WINDOW) for ids in prompts]
    assert [sequence.tokens for sequence in sequences] == expected
    half = np.concatenate([prompts[3], expected[3][:WINDOW]])
    config = resolve({}, max_new_tokens=2 * WINDOW, eos_token_id=-1, prompt_lookup_num_tokens=6)
    guessed = model.request(half, config)
    model.engine.run([guessed])
    assert guessed.tokens == expected[3][WINDOW:]
    assert model.engine.statistics().prefix_hits == 1
