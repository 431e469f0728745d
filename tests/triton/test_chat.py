"""Chats under a real Triton: `messages` as JSON, the model's own template, usage counts, greedy at temperature 0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime import pipeline
from runtime.triton.server import TritonServer
from tests.triton.wire import GrpcStream, generate, generate_stream, text_of
from tests.triton.zoo import CHAT, TOOL

pytestmark = pytest.mark.triton

COUNTS = {"return_num_input_tokens": True, "return_num_output_tokens": True}


@pytest.fixture(scope="module")
def local(zoo_repository: Path) -> Iterator[Any]:
    pipe = pipeline("text-generation", zoo_repository / "chat", verify=False)
    yield pipe
    pipe.close()


@pytest.mark.parametrize("tools", [None, [TOOL]])
def test_the_template_is_applied_on_the_server(zoo: TritonServer, local: Any, tools: Any) -> None:
    more = {} if tools is None else {"tools": json.dumps(tools)}
    status, answer = generate(zoo, "chat", messages=json.dumps(CHAT), max_tokens=8, **more, **COUNTS)
    stream = local.submit(CHAT, max_new_tokens=8, do_sample=False, **({} if tools is None else {"tools": tools}))
    assert (status, answer["text_output"]) == (200, "".join(stream))
    assert answer["num_input_tokens"] == stream.num_input_tokens
    assert answer["num_output_tokens"] == stream.num_output_tokens == 8


def test_tools_change_the_prompt(zoo: TritonServer) -> None:
    counts = [
        generate(zoo, "chat", messages=json.dumps(CHAT), max_tokens=1, **more, **COUNTS)[1]["num_input_tokens"]
        for more in ({}, {"tools": json.dumps([TOOL])})
    ]
    assert counts[1] > counts[0] + 10


def test_streams_and_grpc_say_the_same(zoo: TritonServer) -> None:
    inputs = {"messages": json.dumps(CHAT), "max_tokens": 8}
    _, whole = generate(zoo, "chat", **inputs, **COUNTS)
    events = generate_stream(zoo, "chat", **inputs, stream=True, **COUNTS)
    assert "".join(event["text_output"] for event in events) == whole["text_output"]
    assert (events[-1]["num_input_tokens"], events[-1]["num_output_tokens"]) == (whole["num_input_tokens"], 8)
    with GrpcStream(zoo, "chat") as stream:
        stream.send(messages=("BYTES", inputs["messages"]), max_tokens=("INT32", 8), stream=("BOOL", True))
        assert text_of(stream.receive_all()) == whole["text_output"]


def test_temperature_0_is_greedy(zoo: TritonServer) -> None:
    inputs = {"messages": json.dumps(CHAT), "max_tokens": 10}
    _, greedy = generate(zoo, "chat", **inputs)
    for seed in (1, 2):
        _, cold = generate(zoo, "chat", **inputs, temperature=0.0, top_p=0.9, seed=seed)
        assert cold["text_output"] == greedy["text_output"]
    hot = {generate(zoo, "chat", **inputs, temperature=5.0, seed=seed)[1]["text_output"] for seed in range(3)}
    assert len(hot) == 3
    _, again = generate(zoo, "chat", **inputs, temperature=5.0, seed=0)
    assert again["text_output"] in hot


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"messages": "[{"}, "messages is not valid JSON: "),
        ({"messages": '{"role": "user"}'}, "messages must be a JSON list such as"),
        ({"messages": "[]"}, "messages must be a JSON list such as"),
        (
            {"messages": '[{"role": "user", "content": "a"}, {"role": "user"}]'},
            "a chat's messages are dicts with 'role'",
        ),
        ({"messages": json.dumps(CHAT), "text_input": "x"}, "text_input and messages exclude each other"),
        ({"messages": json.dumps(CHAT), "tools": "[{"}, "tools is not valid JSON"),
        ({"text_input": "x", "options": "[1]"}, "options must be a JSON object"),
        ({"text_input": "x", "options": '{"num_return_sequences": 1000000}'}, "this server takes at most 64"),
        ({"text_input": "x", "options": '{"batch_size": 2}'}, "options cannot have 'batch_size'"),
        ({"text_input": "x", "options": '{"max_new_token": 2}'}, "max_new_token"),
    ],
)
def test_what_is_no_chat_is_said(zoo: TritonServer, inputs: dict[str, Any], message: str) -> None:
    status, answer = generate(zoo, "chat", **inputs)
    assert status == 400
    assert message in answer["error"]
    assert "\n" not in answer["error"] and "/" not in answer["error"]


def test_a_model_without_a_template_says_so(zoo: TritonServer) -> None:
    status, answer = generate(zoo, "gpt2-docs", messages=json.dumps(CHAT))
    assert status == 400
    assert "chat template" in answer["error"]
