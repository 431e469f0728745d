"""Limits that a repository's owner sets in config.pbtxt hold, and are said to the client."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.triton.server import TritonServer
from tests.triton.wire import generate

pytestmark = pytest.mark.triton

LIMITS = {"max_pending_requests": "1", "max_text_bytes": "16", "slots": "1", "max_length_limit": "200"}


@pytest.fixture(scope="module")
def small_server(
    causal_lm_bundle: Path, server_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("small")
    shutil.copytree(causal_lm_bundle, repository / "small")
    with (repository / "small" / "config.pbtxt").open("a") as config:
        for key, value in LIMITS.items():
            config.write(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n')
    with TritonServer() as running:
        running.start(repository, python=server_python)
        running.wait_ready(timeout=120)
        yield running


def test_a_renamed_model_directory_is_a_model(small_server: TritonServer) -> None:
    assert [model.name for model in small_server.models()] == ["small"]


def test_requests_beyond_the_limit_are_refused_at_once(small_server: TritonServer) -> None:
    def ask(_: int) -> tuple[int, str]:
        status, answer = generate(small_server, "small", text_input="def", max_tokens=190)
        return status, answer.get("error") or answer["finish_reason"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    # UNAVAILABLE; Triton's HTTP makes 400 or 503 of it, by release.
    refused = [error for status, error in answers if status >= 400]
    assert set(refused) == {"the server is busy: 1 requests are running or waiting; try again later"}
    assert {reason for status, reason in answers if status == 200} == {"length"}, "the running ones were not disturbed"


def test_texts_beyond_the_limit_are_refused(small_server: TritonServer) -> None:
    status, answer = generate(small_server, "small", text_input="x" * 17)
    assert (status, answer["error"]) == (400, "text_input[0] has 17 bytes; this server takes at most 16 bytes of text")


def test_sequences_end_at_the_limit(small_server: TritonServer) -> None:
    counts = {"return_num_input_tokens": True, "return_num_output_tokens": True}
    status, answer = generate(small_server, "small", text_input="def", max_tokens=1000, **counts)
    assert status == 200
    assert answer["num_input_tokens"] + answer["num_output_tokens"] <= 200
