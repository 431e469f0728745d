"""What is wrong with one request is said to its sender, in one line and without paths, while all others are served."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from runtime.triton.server import TritonServer
from tests.conftest import CAUSAL_LM, CLASSIFIER
from tests.triton.wire import GrpcStream, generate, generate_stream, post

pytestmark = pytest.mark.triton

MIB = 1 << 20


def bytes_request(value: bytes, length: int | None = None) -> tuple[bytes, dict[str, str]]:
    """A binary infer request with one string whose length prefix may lie; body and headers."""
    data = struct.pack("<I", len(value) if length is None else length) + value
    header = (
        b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1],'
        b' "parameters": {"binary_data_size": %d}}]}' % len(data)
    )
    return header + data, {"Inference_Header_Content_Length": str(len(header))}


def is_for_people(message: str) -> bool:
    """One line, no path, no traceback."""
    return "\n" not in message and "Traceback" not in message and "/" not in message and ".py" not in message


CLASSIFIER_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "missing required input(s) ['text']"),
    ({"text": 5}, "attempt to access JSON non-string as string"),
    ({"text": "fine", "top_k": 0}, "top_k is 0; it must be 1 or more"),
    ({"text": "fine", "top_k": -3}, "top_k is -3; it must be 1 or more"),
    ({"text": "fine", "top_k": "two"}, "attempt to access JSON non-signed-integer as signed-integer"),
    ({"text": "x" * (MIB + 1)}, "text[0] has 1048577 bytes; this server takes at most 1048576 bytes of text"),
    ({"text": "fine", "text_pair": "x" * (MIB + 1)}, "text_pair[0] has 1048577 bytes"),
]


@pytest.mark.parametrize(("inputs", "message"), CLASSIFIER_FAULTS)
def test_the_classifier_says_what_is_wrong(server: TritonServer, inputs: dict[str, Any], message: str) -> None:
    status, answer = generate(server, CLASSIFIER, **inputs)
    assert status >= 400
    assert message in answer["error"]
    assert is_for_people(answer["error"])


GENERATOR_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"text_input": "def", "temperature": -1.0}, "temperature is -1.0; it must be 0 (greedy) or more"),
    ({"text_input": "def", "top_p": 1.5}, "top_p is 1.5; it must be above 0 and at most 1"),
    ({"text_input": "def", "top_p": 0.0}, "top_p is 0.0; it must be above 0 and at most 1"),
    ({"text_input": "def", "top_k": -1}, "top_k is -1; it must be 0 (off) or more"),
    ({"text_input": "def", "max_tokens": 0}, "max_tokens is 0; it must be 1 or more"),
    ({"text_input": "def", "repetition_penalty": 0.0}, "repetition_penalty is 0.0; it must be above 0"),
    ({"text_input": "def", "presence_penalty": 0.5}, "presence_penalty is not supported; leave it at 0"),
    ({"text_input": "x" * (MIB + 1)}, "text_input[0] has 1048577 bytes; this server takes at most 1048576"),
]


@pytest.mark.parametrize(("inputs", "message"), GENERATOR_FAULTS)
def test_the_generator_says_what_is_wrong(server: TritonServer, inputs: dict[str, Any], message: str) -> None:
    status, answer = generate(server, CAUSAL_LM, **inputs)
    assert status == 400
    assert message in answer["error"]
    assert is_for_people(answer["error"])
    events = generate_stream(server, CAUSAL_LM, **inputs, stream=True)
    assert [event["error"] for event in events] == [answer["error"]]


def test_what_triton_itself_refuses_for_the_generator(server: TritonServer) -> None:
    status, answer = generate(server, CAUSAL_LM)
    assert status == 400
    assert "request has 0 inputs" in answer["error"]
    status, answer = generate(server, CAUSAL_LM, text_input=["def", "class"])
    assert status == 400
    assert "batch-size must be <= 1" in answer["error"]


def test_optional_inputs_without_the_text_are_not_enough(server: TritonServer) -> None:
    """Triton 24.10 counts inputs: one optional input passes for the required one."""
    status, answer = generate(server, CAUSAL_LM, max_tokens=4)
    assert status == 400
    assert "text_input" in answer["error"]
    status, answer = generate(server, CLASSIFIER, top_k=1)
    assert status == 400
    assert "text" in answer["error"]


def test_a_prompt_that_does_not_fit_is_refused_with_its_length(server: TritonServer) -> None:
    status, answer = generate(server, CAUSAL_LM, text_input="word " * 2000, max_tokens=4)
    assert status == 400
    assert "256" in answer["error"]
    assert is_for_people(answer["error"])


def test_a_text_that_is_too_long_for_the_classifier_is_refused(server: TritonServer) -> None:
    status, answer = generate(server, CLASSIFIER, text="word " * 5000)
    assert status == 400
    assert answer["error"] != "internal error; the server's log has the details"
    assert is_for_people(answer["error"])


def test_invalid_utf8_is_refused_with_its_place(server: TritonServer) -> None:
    body, headers = bytes_request(b"caf\xe9 and more")
    status, answer = post(server, f"/v2/models/{CLASSIFIER}/infer", body, **headers)
    assert (status, answer["error"]) == (400, "text[0] is not valid UTF-8: invalid continuation byte at byte 3")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 100, 1])
def test_a_string_whose_length_lies_is_refused(server: TritonServer, length: int) -> None:
    body, headers = bytes_request(b"fine", length)
    status, answer = post(server, f"/v2/models/{CLASSIFIER}/infer", body, **headers)
    assert status == 400
    assert is_for_people(answer["error"])
    assert generate(server, CLASSIFIER, text="fine")[0] == 200


def test_a_wrong_dtype_is_refused(server: TritonServer) -> None:
    inputs = [{"name": "text", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]
    status, answer = post(server, f"/v2/models/{CLASSIFIER}/infer", {"inputs": inputs})
    assert status == 400
    assert f"inference input 'text' data-type is 'FP32', but model '{CLASSIFIER}' expects 'BYTES'" in answer["error"]


def test_top_k_that_differs_by_row_is_refused(server: TritonServer) -> None:
    inputs = [
        {"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["a", "b"]},
        {"name": "top_k", "datatype": "INT32", "shape": [2, 1], "data": [1, 2]},
    ]
    status, answer = post(server, f"/v2/models/{CLASSIFIER}/infer", {"inputs": inputs})
    assert status == 400
    assert answer["error"].startswith("top_k must be the same for all rows of a request")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(server: TritonServer, value: float) -> None:
    # JSON has no such numbers; gRPC sends the four bytes.
    with GrpcStream(server, CAUSAL_LM) as stream:
        stream.send(text_input=("BYTES", "def"), temperature=("FP32", value))
        answer = stream.receive()
    assert isinstance(answer, InferenceServerException)
    assert answer.message() == "temperature must be a finite number"


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"text"', b"\xff\xfe"])
def test_bodies_that_are_not_requests(server: TritonServer, body: bytes) -> None:
    status, answer = post(server, f"/v2/models/{CAUSAL_LM}/generate", body)
    assert 400 <= status < 600
    assert is_for_people(answer["error"])


def test_good_requests_are_answered_among_bad_ones(server: TritonServer, local_classifier: Any) -> None:
    """Sent together, so that they share batches; every request gets the answer it would get alone."""
    long = "word " * 5000
    jobs = [["A good film.", long, "x" * (MIB + 1), "A bad film."][i % 4] for i in range(64)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: generate(server, CLASSIFIER, text=text), jobs))
    for text, (status, answer) in zip(jobs, answers, strict=True):
        if len(text) < 100:
            assert (status, answer["label"]) == (200, local_classifier(text)[0]["label"])
        else:
            assert status == 400
            assert is_for_people(answer["error"])


def test_grpc_has_a_status_of_its_own_for_what_the_client_got_wrong(server: TritonServer) -> None:
    text = tritonclient.grpc.InferInput("text", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([[b"\xff"]], dtype=np.object_))
    with (
        tritonclient.grpc.InferenceServerClient(server.address("grpc")) as client,
        pytest.raises(InferenceServerException) as refused,
    ):
        client.infer(CLASSIFIER, [text])
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert refused.value.message() == "text[0] is not valid UTF-8: invalid start byte at byte 0"


def test_the_plain_grpc_call_on_a_decoupled_model_is_refused(server: TritonServer) -> None:
    text = tritonclient.grpc.InferInput("text_input", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([[b"def"]], dtype=np.object_))
    with (
        tritonclient.grpc.InferenceServerClient(server.address("grpc")) as client,
        pytest.raises(InferenceServerException, match="decoupled"),
    ):
        client.infer(CAUSAL_LM, [text])
