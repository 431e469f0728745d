"""Raw HTTP to the server: what a client library would never send, and server-sent events as they arrive."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
def _request(
    server: TritonServer, path: str, body: bytes | dict[str, Any], **headers: str
) -> Iterator[http.client.HTTPResponse]:
    host, port = server.address("http").rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("POST", path, content, {name.replace("_", "-"): value for name, value in headers.items()})
        yield connection.getresponse()
    finally:
        connection.close()
