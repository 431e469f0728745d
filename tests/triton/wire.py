"""Talks to the server: raw HTTP, which can send what a client library never would, and gRPC streams."""

from __future__ import annotations

import http.client
import json
import queue
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import tritonclient.grpc
from tritonclient.utils import triton_to_np_dtype

from runtime.triton.server import TritonServer


def post(server: TritonServer, path: str, body: bytes | dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and decoded JSON body of one POST; header names are written with `_` for `-`."""
    with _request(server, path, body, **headers) as answer:
        return answer.status, json.loads(answer.read())


def generate(server: TritonServer, model: str, **inputs: Any) -> tuple[int, dict[str, Any]]:
    """Triton's generate extension."""
    return post(server, f"/v2/models/{model}/generate", inputs)


def generate_stream(server: TritonServer, model: str, **inputs: Any) -> list[dict[str, Any]]:
    """All events of the generate_stream extension."""
    with open_stream(server, model, **inputs) as events:
        return list(events)


@contextmanager
def open_stream(server: TritonServer, model: str, **inputs: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The events as they come; leaving the block early closes the connection."""
    with _request(server, f"/v2/models/{model}/generate_stream", inputs) as answer:
        yield (json.loads(line[6:]) for line in answer if line.startswith(b"data: "))


@contextmanager
def begin_stream(server: TritonServer, model: str, **inputs: Any) -> Iterator[http.client.HTTPConnection]:
    """Send a request for a stream and do not wait for its first event."""
    with closing(_connect(server)) as connection:
        connection.request("POST", f"/v2/models/{model}/generate_stream", json.dumps(inputs))
        yield connection


@contextmanager
def _request(
    server: TritonServer, path: str, body: bytes | dict[str, Any], **headers: str
) -> Iterator[http.client.HTTPResponse]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(_connect(server)) as connection:
        connection.request("POST", path, content, {name.replace("_", "-"): value for name, value in headers.items()})
        yield connection.getresponse()


def _connect(server: TritonServer) -> http.client.HTTPConnection:
    host, port = server.address("http").rsplit(":", 1)
    return http.client.HTTPConnection(host, int(port), timeout=60)


class GrpcStream:
    """One gRPC stream; `send` takes a Python value per tensor, `receive` gives the next response or error."""

    def __init__(self, server: TritonServer, model: str) -> None:
        self.model = model
        self.client = tritonclient.grpc.InferenceServerClient(server.address("grpc"))
        self._answers: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: self._answers.put(error or result))

    def send(self, request_id: str = "", **inputs: tuple[str, Any]) -> None:
        """Shapes are `[1, n]`, as TensorRT-LLM's clients and Triton's OpenAI frontend send them."""
        tensors = []
        for name, (dtype, value) in inputs.items():
            array = np.array([value if isinstance(value, list) else [value]])
            array = array.astype(triton_to_np_dtype(dtype))
            tensors.append(tritonclient.grpc.InferInput(name, list(array.shape), dtype))
            tensors[-1].set_data_from_numpy(array)
        self.client.async_stream_infer(self.model, tensors, request_id=request_id, enable_empty_final_response=True)

    def receive(self) -> Any:
        return self._answers.get(timeout=60)

    def receive_all(self) -> list[Any]:
        """All responses of the one request that runs."""
        answers = [self.receive()]
        while not (isinstance(answers[-1], Exception) or _is_final(answers[-1])):
            answers.append(self.receive())
        return answers

    def __enter__(self) -> GrpcStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_stream()
        self.client.close()


def _is_final(result: Any) -> bool:
    return bool(result.get_response().parameters["triton_final_response"].bool_param)


def text_of(results: list[Any]) -> str:
    """What the responses of a text-generation model say together."""
    texts = [result.as_numpy("text_output") for result in results]
    return "".join(text[0, 0].decode() for text in texts if text is not None)
