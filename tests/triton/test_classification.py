"""A classifier under a real Triton answers what the pipeline answers, over HTTP and gRPC, alone and in a crowd."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray

from runtime.triton.server import TritonServer
from tests.conftest import CLASSIFIER
from tests.triton.wire import generate

pytestmark = pytest.mark.triton

TEXTS = [
    "A wonderful film with a warm heart.",
    "Bad.",
    "The plot was thin, the jokes were old, and I looked at my watch more often than at the screen.",
    "",
    "Überraschend gut! 素晴らしい 🎉",
    "so " * 60 + "good",
]


def infer(client: Any, module: Any, texts: list[str], top_k: int | None) -> dict[str, NDArray[Any]]:
    """One request through a tritonclient client; outputs by name."""
    text = module.InferInput("text", [len(texts), 1], "BYTES")
    text.set_data_from_numpy(np.array([[t.encode()] for t in texts], dtype=np.object_))
    inputs = [text]
    if top_k is not None:
        limit = module.InferInput("top_k", [len(texts), 1], "INT32")
        limit.set_data_from_numpy(np.full((len(texts), 1), top_k, dtype=np.int32))
        inputs.append(limit)
    answer = client.infer(CLASSIFIER, inputs)
    return {name: answer.as_numpy(name) for name in ("label", "score", "json")}


def rows(answer: dict[str, NDArray[Any]]) -> list[list[tuple[str, np.float32]]]:
    """`[[(label, score), ...], ...]`"""
    pairs = zip(answer["label"], answer["score"], strict=True)
    return [[(label.decode(), score) for label, score in zip(*row, strict=True)] for row in pairs]


def expected(scores: list[dict[str, Any]]) -> list[tuple[str, np.float32]]:
    return [(entry["label"], np.float32(entry["score"])) for entry in scores]


@pytest.fixture(params=["http", "grpc"])
def client(server: TritonServer, request: pytest.FixtureRequest) -> Any:
    module = {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]
    with module.InferenceServerClient(server.address(request.param)) as opened:
        yield opened, module


@pytest.mark.parametrize("text", TEXTS)
def test_one_text_has_exactly_the_pipelines_scores(client: Any, local_classifier: Any, text: str) -> None:
    answer = infer(*client, [text], top_k=2)
    assert rows(answer) == [expected(local_classifier(text, top_k=2))]
    assert json.loads(answer["json"][0, 0]) == local_classifier(text, top_k=2)


def test_a_batch_has_the_scores_of_the_pipelines_batch(client: Any, local_classifier: Any) -> None:
    answer = infer(*client, TEXTS, top_k=2)
    assert rows(answer) == [expected(s) for s in local_classifier(TEXTS, top_k=2, batch_size=len(TEXTS))]


def test_without_top_k_there_is_one_label_as_in_the_pipeline(client: Any, local_classifier: Any) -> None:
    assert rows(infer(*client, [TEXTS[0]], top_k=None)) == [expected(local_classifier(TEXTS[0]))]


def test_top_k_beyond_the_labels_is_all_of_them(client: Any, local_classifier: Any) -> None:
    assert rows(infer(*client, [TEXTS[0]], top_k=99)) == [expected(local_classifier(TEXTS[0], top_k=None))]


def test_a_pair_is_not_its_first_text(server: TritonServer, local_classifier: Any) -> None:
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
    status, answer = generate(server, CLASSIFIER, **pair)
    assert status == 200
    assert json.loads(answer["json"]) == [local_classifier(pair)]
    assert json.loads(answer["json"]) != local_classifier(TEXTS[0])


def test_an_empty_pair_is_no_pair(server: TritonServer, local_classifier: Any) -> None:
    _, answer = generate(server, CLASSIFIER, text=TEXTS[0], text_pair="")
    assert json.loads(answer["json"]) == local_classifier(TEXTS[0])


def test_only_the_outputs_that_are_wanted_come_back(server: TritonServer) -> None:
    with tritonclient.http.InferenceServerClient(server.address("http")) as opened:
        text = tritonclient.http.InferInput("text", [1, 1], "BYTES")
        text.set_data_from_numpy(np.array([[b"fine"]], dtype=np.object_))
        wanted = [tritonclient.http.InferRequestedOutput("score")]
        answer = opened.infer(CLASSIFIER, [text], outputs=wanted).get_response()
    assert [output["name"] for output in answer["outputs"]] == ["score"]


def test_a_crowd_with_mixed_lengths_and_top_k_gets_the_answers_of_single_requests(
    server: TritonServer, local_classifier: Any
) -> None:
    jobs = [(TEXTS[i % len(TEXTS)], 1 + i % 2) for i in range(96)]

    def ask(job: tuple[str, int]) -> Any:
        status, answer = generate(server, CLASSIFIER, text=job[0], top_k=job[1])
        assert status == 200
        return json.loads(answer["json"])

    alone = {job: local_classifier(job[0], top_k=job[1]) for job in set(jobs)}
    with ThreadPoolExecutor(16) as pool:
        for job, answer in zip(jobs, pool.map(ask, jobs), strict=True):
            assert [entry["label"] for entry in answer] == [entry["label"] for entry in alone[job]]
            # Padding in a batch changes the order of float additions, not more.
            scores = [entry["score"] for entry in alone[job]]
            np.testing.assert_allclose([entry["score"] for entry in answer], scores, rtol=0, atol=2e-6)


def test_requests_that_arrive_together_run_together(server: TritonServer) -> None:
    with tritonclient.http.InferenceServerClient(server.address("http"), concurrency=16) as opened:

        def executions() -> tuple[int, int]:
            stats = opened.get_inference_statistics(CLASSIFIER)["model_stats"][0]
            return stats["inference_count"], stats["execution_count"]

        before = executions()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: generate(server, CLASSIFIER, text=TEXTS[i % len(TEXTS)]), range(160)))
        inferences, runs = (b - a for a, b in zip(before, executions(), strict=True))
    assert inferences == 160
    assert runs < 160
