"""sentence-similarity: every pooling that sentence-transformers knows, against torch; similarities; what is refused.

sentence-transformers itself is no dependency: `exporter.validation.sentence_similarity.pooled` is the reference, itself
checked here against numbers worked out by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from exporter.sentences import sentence_facts
from exporter.validation.sentence_similarity import pooled
from runtime import pipeline
from runtime.errors import ExportError
from runtime.pipelines.pooling import pool
from tests.checkpoints.encoders import sentence_model
from tests.text_bundles import TextBundles
from tests.torch_pipelines import torch_pipeline

TASK = "sentence-similarity"
TEXTS = ["The food was cold.", "The meal arrived cold, and the waiter was rude.", "", "Ça 👍", "never " * 60]
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


@pytest.fixture(scope="module")
def pipe(text_bundles: TextBundles) -> Any:
    return pipeline(TASK, text_bundles("sentences"))


def vector_of(folder: Path, text: str) -> np.ndarray:
    """Mean of the hidden states of at most 32 tokens, length 1, in torch."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        states = model(**tokenizer(text, truncation=True, max_length=32, return_tensors="pt")).last_hidden_state[0]
    return torch.nn.functional.normalize(states.mean(0), dim=0).numpy()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_vectors(pipe: Any, text_bundles: TextBundles, batch_size: int) -> None:
    expected = [vector_of(text_bundles.checkpoint("sentences"), text) for text in TEXTS]
    found = pipe(TEXTS, batch_size=batch_size)
    assert isinstance(found, list) and isinstance(found[0][0], float)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(list(pipe(iter(TEXTS), batch_size=batch_size)), expected, atol=1e-5)


def test_one_text_gives_one_vector(pipe: Any) -> None:
    found = pipe(TEXTS[0], return_tensors=True)
    assert found.shape == (64,) and found.dtype == np.float32
    assert pipe(TEXTS[0]) == found.tolist()
    assert pipe([]) == []


def test_similarities(pipe: Any) -> None:
    """The inference API's question: one text, and others."""
    vectors = np.array(pipe(TEXTS))
    expected = vectors[1:] @ vectors[0]
    question = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
    for found in (pipe(question), pipe(**question), pipe(question, batch_size=3)):
        assert isinstance(found, list) and all(type(value) is float for value in found)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert pipe({"source_sentence": TEXTS[0], "sentences": [TEXTS[0]]})[0] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "takes a text, a list of texts, or one"),
        (3, "takes texts, not int"),
        ([{"source_sentence": "a", "sentences": ["b"]}], "takes a text, a list of texts, or one"),
        ({"source_sentence": "a"}, r"not a dict with \['source_sentence'\]"),
        ({"source_sentence": "a", "sentences": []}, "needs a text as source_sentence and a list"),
        ({"source_sentence": "a", "sentences": "b"}, "needs a text as source_sentence and a list"),
        (["a", 3], "takes texts, not int"),
    ],
)
def test_what_is_refused(pipe: Any, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipe(inputs)


def test_poolings_by_hand() -> None:
    states = np.array([[[1, 0], [3, 4], [5, -1], [9, 9]]], np.float32)
    mask = np.array([[1, 1, 1, 0]])
    expected = {
        "cls": [1, 0],
        "max": [5, 4],
        "mean": [3, 1],
        "mean_sqrt_len_tokens": [9 / 3**0.5, 3 / 3**0.5],
        "weightedmean": [22 / 6, 5 / 6],
        "lasttoken": [5, -1],
    }
    for mode, vector in expected.items():
        np.testing.assert_allclose(pool(states, mask, [mode], False)[0], vector, rtol=1e-6)
        facts = {"pooling": [mode], "normalize": False}
        np.testing.assert_allclose(pooled(torch.from_numpy(states[0, :3]), facts), vector, rtol=1e-6)
    left = pool(states[:, ::-1], mask[:, ::-1], ["cls", "lasttoken"], False)[0]
    np.testing.assert_allclose(left, [5, -1, 1, 0])
    np.testing.assert_allclose(pool(states, mask, ["mean"], True)[0], np.array([3, 1]) / 10**0.5, rtol=1e-6)


def test_declared_facts(tmp_path: Path) -> None:
    """Several modes at once, lengths, lower case, a prompt and another similarity, all the way into the answers."""
    modes = {"pooling_mode_cls_token": True, "pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}
    folder = sentence_model(tmp_path / "c", modes, normalize=False, max_seq_length=12, do_lower_case=True)
    settings = {"prompts": {"query": "Query: "}, "default_prompt_name": "query", "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    facts = sentence_facts(folder)
    assert facts == {
        "pooling": ["cls", "lasttoken"],
        "normalize": False,
        "similarity": "dot",
        "max_seq_length": 12,
        "do_lower_case": True,
        "prompt": "Query: ",
    }
    ours = torch_pipeline(TASK, folder, tmp_path / "b")
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        encoded = tokenizer(f"query: {text.lower()}", truncation=True, max_length=12, return_tensors="pt")
        with torch.no_grad():
            expected.append(pooled(model(**encoded).last_hidden_state[0], facts))
    np.testing.assert_allclose(ours(TEXTS, batch_size=2), np.stack(expected), atol=1e-5)
    found = ours({"source_sentence": TEXTS[0], "sentences": TEXTS[1:]})
    np.testing.assert_allclose(found, [expected[0] @ other for other in expected[1:]], rtol=1e-4)


def test_newer_spelling_of_the_pooling_and_none_at_all(tmp_path: Path) -> None:
    folder = sentence_model(tmp_path / "c", {"pooling_mode": "lasttoken"})
    assert sentence_facts(folder)["pooling"] == ["lasttoken"]
    (folder / "modules.json").unlink()
    assert sentence_facts(folder) == {"pooling": ["mean"], "normalize": False, "similarity": "cosine"}


def test_modules_that_cannot_be_reproduced(tmp_path: Path) -> None:
    folder = sentence_model(tmp_path / "c", {"pooling_mode_cls_token": True})
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ExportError, match="its module Dense is not supported"):
        sentence_facts(folder)
    (folder / "modules.json").write_text("{")
    with pytest.raises(ExportError, match="cannot be read"):
        sentence_facts(folder)


def test_the_task_follows_from_modules_json(tmp_path: Path) -> None:
    from exporter.loading import load_config
    from exporter.source import resolve_source
    from exporter.tasks import resolve_task

    folder = sentence_model(tmp_path / "c", {"pooling_mode_cls_token": True})
    source = resolve_source(str(folder))
    assert resolve_task(None, load_config(source), source).name == TASK
    (folder / "modules.json").unlink()
    assert resolve_task(None, load_config(source), source).name == "feature-extraction"
