"""`pipeline(task, "triton://...")` gives what the local pipeline gives: nesting, numbers, types and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import pipeline
from runtime.errors import InputError, OnwardError
from runtime.triton.backend import IMPLEMENTATIONS
from runtime.triton.server import TritonServer
from tests.triton.zoo import CALLS, CHAT, REFUSED, SOURCES

pytestmark = pytest.mark.triton

SCHEMES = {"grpc": "triton", "http": "triton+http"}
Opener = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def local(zoo_repository: Path) -> Iterator[Opener]:
    """Pipelines over the bundles themselves."""
    yield from opener(lambda task, model: pipeline(task, zoo_repository / model, verify=False))


@pytest.fixture(scope="module", params=SCHEMES)
def remote(zoo: TritonServer, request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Pipelines over the server, by gRPC and by HTTP."""
    scheme, address = SCHEMES[request.param], zoo.address(request.param)
    yield from opener(lambda task, model: pipeline(task, f"{scheme}://{address}/{model}"))


def opener(make: Callable[[str, str], Any]) -> Iterator[Opener]:
    made: dict[tuple[str, str], Any] = {}

    def get(task: str, model: str) -> Any:
        if (task, model) not in made:
            made[task, model] = make(task, model)
        return made[task, model]

    yield get
    for pipe in made.values():
        pipe.close()


def same(found: Any, expected: Any) -> None:
    """Equal in every bit, and of the same types. Raises AssertionError."""
    assert type(found) is type(expected), (found, expected)
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected), (found, expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected, (found, expected)


def test_every_task_is_called() -> None:
    assert {task for _, task in CALLS} >= set(IMPLEMENTATIONS)


@pytest.mark.parametrize(("model", "task"), CALLS)
def test_answers_are_the_local_ones(local: Opener, remote: Opener, model: str, task: str) -> None:
    for positional, keywords in CALLS[model, task]:
        expected = local(task, model)(*positional, **keywords)
        same(remote(task, model)(*positional, **keywords), expected)


@pytest.mark.parametrize(("model", "task"), REFUSED)
def test_errors_are_the_local_ones(local: Opener, remote: Opener, model: str, task: str) -> None:
    for positional, keywords in REFUSED[model, task]:
        with pytest.raises(OnwardError) as expected:
            local(task, model)(*positional, **keywords)
        with pytest.raises(OnwardError) as found:
            remote(task, model)(*positional, **keywords)
        assert (type(found.value), str(found.value)) == (type(expected.value), str(expected.value))


def test_generators_come_back_as_iterators(local: Opener, remote: Opener) -> None:
    asked = {
        ("sentiment", "text-classification"): (["Good.", "Bad.", "So."], {}),
        ("gpt2-docs", "text-generation"): (["def", "class"], {"max_new_tokens": 4, "do_sample": False}),
        ("writer", "summarization"): (SOURCES, {"max_new_tokens": 4}),
    }
    for (model, task), (items, keywords) in asked.items():
        answers = remote(task, model)((item for item in items), batch_size=2, **keywords)
        assert not isinstance(answers, list)
        same(list(answers), list(local(task, model)((item for item in items), batch_size=2, **keywords)))


@pytest.mark.parametrize("prompt", ["Return the", "Überraschung: 素晴らしい"])
@pytest.mark.parametrize("options", [{"do_sample": False}, {"do_sample": True, "seed": 4, "temperature": 1.2}])
def test_streams_are_the_local_ones(local: Opener, remote: Opener, prompt: str, options: dict[str, Any]) -> None:
    streams = [
        side("text-generation", "gpt2-docs").submit(prompt, max_new_tokens=16, **options) for side in (local, remote)
    ]
    expected, found = (list(stream) for stream in streams)
    assert found == expected and len(found) > 2
    for name in ("text", "finish_reason", "num_input_tokens", "num_output_tokens"):
        assert getattr(streams[1], name) == getattr(streams[0], name)


@pytest.mark.parametrize(
    ("prompt", "keywords"),
    [
        ("def", {"max_new_token": 3}),
        ("def", {"num_beams": 2, "do_sample": False}),
        ("def", {"do_sample": True, "temperature": -1.0}),
        ("word " * 2000, {"max_new_tokens": 3}),
        (3, {}),
    ],
)
def test_bad_streams_are_refused_at_the_call(
    local: Opener, remote: Opener, prompt: Any, keywords: dict[str, Any]
) -> None:
    with pytest.raises(OnwardError) as expected:
        local("text-generation", "gpt2-docs").submit(prompt, **keywords)
    with pytest.raises(OnwardError) as found:
        remote("text-generation", "gpt2-docs").submit(prompt, **keywords)
    assert (type(found.value), str(found.value)) == (type(expected.value), str(expected.value))


def test_batches_that_the_server_would_pad_otherwise_are_refused(remote: Opener) -> None:
    with pytest.raises(InputError, match="batch_size is 33, the server takes 32: its padding would differ"):
        remote("feature-extraction", "features")(["ok"] * 40, batch_size=33)


def test_chats_stream(local: Opener, remote: Opener) -> None:
    streams = [
        side("text-generation", "chat").submit(CHAT, max_new_tokens=8, do_sample=False) for side in (local, remote)
    ]
    assert list(streams[1]) == list(streams[0])
    assert streams[1].num_input_tokens == streams[0].num_input_tokens


def test_a_cancelled_stream_ends(remote: Opener) -> None:
    stream = remote("text-generation", "gpt2-docs").submit("def", max_new_tokens=240, do_sample=False)
    next(stream)
    stream.cancel()
    assert len(list(stream)) < 200
    assert stream.finish_reason == "cancelled"


def test_a_stream_is_under_way_before_it_is_read(remote: Opener) -> None:
    """Many are submitted at once, as with the local engine, also beyond its slots."""
    pipe = remote("text-generation", "gpt2-docs")
    streams = [pipe.submit("def", max_new_tokens=40 - index, do_sample=False) for index in range(20)]
    streams[3].cancel()
    texts = ["".join(stream) for stream in reversed(streams)][::-1]
    assert all(texts[0].startswith(text) for index, text in enumerate(texts) if index != 3)
    assert streams[3].finish_reason == "cancelled"


def test_one_pipeline_serves_many_threads(local: Opener, remote: Opener) -> None:
    texts = [f"Number {index} is {'good' if index % 2 else 'bad'}." for index in range(48)]
    pipe = remote("text-classification", "sentiment")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(pipe, texts))
    expected = [local("text-classification", "sentiment")(text) for text in texts]
    assert [answer[0]["label"] for answer in answers] == [answer[0]["label"] for answer in expected]
    # Requests of several clients share a batch: padding changes the order of float additions, not more.
    scores = [answer[0]["score"] for answer in expected]
    np.testing.assert_allclose([answer[0]["score"] for answer in answers], scores, rtol=0, atol=2e-6)


def test_without_a_task_it_is_the_models(remote: Opener) -> None:
    assert remote(None, "ner").task == "token-classification"  # type: ignore[arg-type]
    assert remote("ner", "ner").task == "token-classification"
