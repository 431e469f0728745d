"""The encoder tasks under a real Triton: what the pipeline answers, as JSON and as vectors, alone and in a crowd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http

from runtime import pipeline
from runtime.triton.server import TritonServer
from tests.parity.answers import assert_same
from tests.text_bundles import TEXT_CHECKPOINTS, TextBundles
from tests.triton.wire import generate

pytestmark = pytest.mark.triton

CONTEXT = "Anna Berger now lives in Lisbon. She works for Redwood Bank. Berger has a goat."
# Bundle -> requests: tensors, and the same for the pipeline.
ASKED: dict[str, list[tuple[dict[str, Any], Any, dict[str, Any]]]] = {
    "ner": [
        ({"text": CONTEXT}, CONTEXT, {}),
        ({"text": CONTEXT, "aggregation_strategy": "max"}, CONTEXT, {"aggregation_strategy": "max"}),
        ({"text": "Mr X.", "ignore_labels": ["O", "B-PER"]}, "Mr X.", {"ignore_labels": ["O", "B-PER"]}),
        (
            {"text": CONTEXT * 4, "aggregation_strategy": "simple", "stride": 9},
            CONTEXT * 4,
            {"aggregation_strategy": "simple", "stride": 9},
        ),
    ],
    "fill-mask": [
        ({"text": "Return the <mask> of the list."}, "Return the <mask> of the list.", {}),
        ({"text": "<mask> <mask>", "top_k": 2}, "<mask> <mask>", {"top_k": 2}),
        ({"text": "the <mask>", "targets": ["end", "a"]}, "the <mask>", {"targets": ["end", "a"]}),
    ],
    "qa": [
        ({"question": "Where?", "context": CONTEXT}, {"question": "Where?", "context": CONTEXT}, {}),
        (
            {"question": "Where?", "context": CONTEXT, "top_k": 2, "handle_impossible_answer": True},
            {"question": "Where?", "context": CONTEXT},
            {"top_k": 2, "handle_impossible_answer": True},
        ),
    ],
    "nli": [
        ({"text": "It rains.", "candidate_labels": ["wet", "dry"]}, "It rains.", {"candidate_labels": ["wet", "dry"]}),
        (
            {"text": "It rains.", "candidate_labels": ["a", "b"], "multi_label": True, "hypothesis_template": "{}?"},
            "It rains.",
            {"candidate_labels": ["a", "b"], "multi_label": True, "hypothesis_template": "{}?"},
        ),
    ],
    "features": [
        ({"text": "ok"}, "ok", {}),
        ({"text": "ok " * 300, "truncation": True}, "ok " * 300, {"truncation": True}),
    ],
    "sentences": [({"text": "A cold meal."}, "A cold meal.", {})],
}


@pytest.fixture(scope="module")
def server(text_bundles: TextBundles, server_python: Path) -> Iterator[TritonServer]:
    """One server with all the text tasks' bundles."""
    for name in TEXT_CHECKPOINTS:
        text_bundles(name)
    with TritonServer() as running:
        running.start(text_bundles.repository, python=server_python)
        running.wait_ready(timeout=180)
        yield running


@pytest.mark.parametrize("name", ASKED)
def test_answers_are_the_pipelines(server: TritonServer, text_bundles: TextBundles, name: str) -> None:
    pipe = pipeline(model=text_bundles(name))
    for tensors, item, options in ASKED[name]:
        status, answer = generate(server, name, **tensors)
        assert status == 200, answer
        expected = json.loads(json.dumps(pipe(item, **options), default=float))
        assert_same(json.loads(answer["json"]), expected, tolerance=1e-5)


def test_a_crowd_with_mixed_arguments(server: TritonServer, text_bundles: TextBundles) -> None:
    """Requests that share a batch do not change each other's answers."""
    jobs = [(name, tensors) for name in ("ner", "qa") for tensors, _, _ in ASKED[name]] * 6
    alone = [generate(server, name, **tensors) for name, tensors in jobs[: len(jobs) // 6]] * 6
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda job: generate(server, job[0], **job[1]), jobs))
    for (_, one), (_, other) in zip(alone, together, strict=True):
        assert_same(json.loads(other["json"]), json.loads(one["json"]), tolerance=1e-4)


@pytest.mark.parametrize(
    ("name", "tensors", "message"),
    [
        ("fill-mask", {"text": "no mask"}, "no mask token in the text"),
        ("ner", {"text": "x", "aggregation_strategy": "most"}, "use one of none, simple"),
        ("qa", {"question": "Who?", "context": ""}, "context is empty"),
        ("nli", {"text": "x", "candidate_labels": ["a"], "hypothesis_template": "b"}, "has no {} for the label"),
        ("features", {"text": "ok " * 300}, "pass truncation=True"),
    ],
)
def test_what_is_refused(server: TritonServer, name: str, tensors: dict[str, Any], message: str) -> None:
    status, answer = generate(server, name, **tensors)
    assert status == 400 and message in answer["error"]


def test_vectors(server: TritonServer, text_bundles: TextBundles) -> None:
    """Embeddings as a tensor of several rows, hidden states filled up with zeros, similarities."""
    texts = ["A cold meal.", "ok"]
    with tritonclient.http.InferenceServerClient(server.address("http")) as client:
        answers = {name: client.infer(name, [strings("text", texts)]) for name in ("sentences", "features")}
        sources = [strings("text", texts), strings("source_sentence", texts[:1] * 2)]
        similar = client.infer("sentences", sources).as_numpy("json")
    expected = pipeline(model=text_bundles("sentences"))(texts, return_tensors=True)
    np.testing.assert_allclose(answers["sentences"].as_numpy("embedding"), np.stack(expected), atol=1e-5)
    assert json.loads(similar[0, 0]) == pytest.approx(1.0, abs=1e-5)
    states = pipeline(model=text_bundles("features"))(texts, return_tensors=True)
    features = answers["features"].as_numpy("features")
    for row, state in zip(features, states, strict=True):
        np.testing.assert_allclose(row[: state.shape[1]], state[0], atol=1e-5)
        assert not row[state.shape[1] :].any()


def strings(name: str, values: list[str]) -> Any:
    """An input tensor `[n, 1]`."""
    tensor = tritonclient.http.InferInput(name, [len(values), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[value.encode()] for value in values], dtype=np.object_))
    return tensor
