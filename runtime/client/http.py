"""Triton's HTTP protocol (KServe v2 with binary tensors, and the generate extension), with the standard library."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from runtime.client.address import Address
from runtime.client.connection import Answer, Arrays, Connection
from runtime.client.errors import TryAgainError, denied, not_found, refusal, timed_out, unreachable
from runtime.client.wire import decode, dtype_name, encode
from runtime.errors import InputError, OnwardError
from runtime.triton.errors import ServerError

_LENGTH = "Inference-Header-Content-Length"
_KEPT = 16  # idle connections
_AWAY = (429, 502, 503, 504)


class HttpTransport:
    """Connections are kept for the next request, each used by one thread at a time."""

    def __init__(self, address: Address, connection: Connection) -> None:
        self.address = address
        self._connection = connection
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue(_KEPT)
        self._tls = self._context() if address.tls else None
        version = f"/versions/{address.version}" if address.version else ""
        self._path = f"/v2/models/{quote(address.model, safe='')}{version}"

    def config(self) -> dict[str, Any]:
        """The model's max_batch_size and parameters."""
        found = json.loads(self._exchange("GET", "/config")[0])
        parameters = {name: value.get("string_value", "") for name, value in found.get("parameters", {}).items()}
        return {"max_batch_size": found.get("max_batch_size", 0), "parameters": parameters}

    def infer(self, inputs: Arrays, outputs: list[str]) -> Arrays:
        """One request and its answer."""
        contents = {name: encode(array) for name, array in inputs.items()}
        header = json.dumps(
            {
                "inputs": [
                    {
                        "name": name,
                        "shape": list(array.shape),
                        "datatype": dtype_name(array),
                        "parameters": {"binary_data_size": len(contents[name])},
                    }
                    for name, array in inputs.items()
                ],
                "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
            }
        ).encode()
        body = b"".join([header, *contents.values()])
        headers = {_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
        return read_tensors(*self._exchange("POST", "/infer", body, headers))

    def generate(self, inputs: dict[str, Any]) -> HttpResponses:
        """The responses of a decoupled model. The request is on its way when this returns."""
        path = "/generate_stream" if inputs.get("stream") else "/generate"
        return HttpResponses(self, path, json.dumps(inputs).encode())

    def try_often(self, action: Callable[[], Answer]) -> Answer:
        """See `Connection.try_often`."""
        return self._connection.try_often(action)

    def close(self) -> None:
        """Close the idle connections."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def give_back(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        """Keep a connection whose answer was read to its end."""
        if answer.isclosed() and not answer.will_close:
            with suppress(queue.Full):
                self._idle.put_nowait(connection)
                return
        connection.close()

    def explain(self, error: Exception) -> Exception:
        """An error of the socket, for people."""
        if isinstance(error, TimeoutError):
            return timed_out(self.address.server, self._connection.request_timeout)
        return unreachable(self.address.server, str(error) or type(error).__name__)

    def refused(self, status: int, body: bytes) -> Exception:
        """What an HTTP status of 400 or above means."""
        message, server = error_message(body), self.address.server
        if status in (401, 403):
            return denied(server, message)
        if status == 404:
            return not_found(server, self.address.model, message)
        found = refusal(message or f"HTTP status {status}", server)
        if status in _AWAY and not isinstance(found, TryAgainError):
            return unreachable(server, f"HTTP status {status} {message}".strip())
        if status == 413:
            return InputError(f"{server} takes no request that large: send fewer or smaller items at a time")
        return found if status == 400 or isinstance(found, TryAgainError | ServerError) else ServerError(str(found))

    def _exchange(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[bytes, int | None]:
        """The body of an answer, and the length of its JSON part where it has another."""

        def once() -> tuple[bytes, int | None]:
            connection, answer = self._send(method, path, body, headers or {})
            try:
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise self.explain(error) from error
            self.give_back(connection, answer)
            length = answer.headers.get(_LENGTH)
            return content, None if length is None else int(length)

        return self._connection.try_often(once)

    def _send(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A connection and the answer that begins on it. Raises what a refusal means."""
        connection = self.send(method, path, body, headers)
        return connection, self.begin(connection)

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> http.client.HTTPConnection:
        """The connection on which a request went out."""
        connection = self._take()
        try:
            connection.request(method, self._path + path, body, {**self._connection.headers, **headers})
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.explain(error) from error
        return connection

    def begin(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        """The answer that begins. Raises what a refusal means."""
        try:
            answer = connection.getresponse()
            if answer.status < 400:
                return answer
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.explain(error) from error
        self.give_back(connection, answer)
        raise self.refused(answer.status, content)

    def _take(self) -> http.client.HTTPConnection:
        with suppress(queue.Empty):
            while True:
                connection = self._idle.get_nowait()
                if is_open(connection):
                    return connection
                connection.close()
        address, timeout = self.address, self._connection.request_timeout
        if self._tls is not None:
            return http.client.HTTPSConnection(address.host, address.port, timeout=timeout, context=self._tls)
        return http.client.HTTPConnection(address.host, address.port, timeout=timeout)

    def _context(self) -> ssl.SSLContext:
        settings = self._connection
        try:
            context = ssl.create_default_context(cafile=settings.ssl_ca)
            if settings.ssl_cert:
                context.load_cert_chain(settings.ssl_cert, settings.ssl_key)
        except OSError as error:
            raise InputError(f"a file for TLS cannot be read: {error}") from error
        return context


class HttpResponses:
    """The responses of the generate endpoints: one JSON object, or server-sent events. The tries end with the first."""

    def __init__(self, transport: HttpTransport, path: str, body: bytes) -> None:
        self._transport, self._path, self._body = transport, path, body
        self._connection: http.client.HTTPConnection | None = None
        self._sent = self._cancelled = False
        with suppress(TryAgainError):  # then it is tried again when the responses are read
            self._send()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        answer = None
        try:
            first, answer, events = self._transport.try_often(self._first)
            yield first
            for event in events:
                if self._cancelled:
                    return
                yield checked(event, self._transport.address.server)
        except (OSError, http.client.HTTPException, ValueError, ServerError, TryAgainError) as error:
            if isinstance(error, InputError) or not self._cancelled:
                known = isinstance(error, OnwardError | TryAgainError)
                raise final(error if known else self._transport.explain(error)) from error
        finally:
            if answer is not None and self._connection is not None:
                self._transport.give_back(self._connection, answer)

    def cancel(self) -> None:
        """Hang up."""
        self._cancelled = True
        with suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def _send(self) -> None:
        self._connection = self._transport.send("POST", self._path, self._body, {})
        self._sent = True

    def _first(self) -> tuple[dict[str, Any], http.client.HTTPResponse, Iterator[dict[str, Any]]]:
        """The first response, and those that follow."""
        if self._cancelled:
            raise ServerError("the request was cancelled")
        if not self._sent:
            self._send()
        self._sent = False
        assert self._connection is not None
        answer = self._transport.begin(self._connection)
        events = read_events(answer)
        first = next(events, None)
        if first is None:
            raise ServerError(f"{self._transport.address.server} ended the answer before it began")
        return checked(first, self._transport.address.server), answer, events


def read_events(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The JSON objects of an answer."""
    if "text/event-stream" not in answer.headers.get("Content-Type", ""):
        yield json.loads(answer.read())
        return
    for line in answer:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def checked(event: dict[str, Any], server: str) -> dict[str, Any]:
    """A response that is no error. Raises what an error means."""
    if "error" in event:
        raise refusal(event["error"], server)
    return event


def final(error: Exception) -> Exception:
    """An error that no further try follows."""
    return error.final() if isinstance(error, TryAgainError) else error


def is_open(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has not closed an idle connection."""
    try:
        connection.sock.setblocking(False)
        try:
            return connection.sock.recv(1, socket.MSG_PEEK) == b"never"
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        finally:
            connection.sock.settimeout(connection.timeout)
    except (OSError, ValueError, AttributeError):
        return False


def read_tensors(body: bytes, header_length: int | None) -> Arrays:
    """The outputs of an answer: a JSON header and binary contents in its order."""
    if header_length is None:
        raise ServerError("the server answered without binary tensors: is there a proxy in between that drops headers?")
    header, place, found = json.loads(body[:header_length]), header_length, {}
    for output in header["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = decode(body[place : place + size], output["datatype"], output["shape"])
        place += size
    return found


def error_message(body: bytes) -> str:
    """Triton's `{"error": ...}`, as an event where a stream was asked for, or the beginning of whatever else came."""
    try:
        return str(json.loads(body.removeprefix(b"data: "))["error"])
    except (ValueError, KeyError, TypeError):
        return " ".join(body.decode(errors="replace").split())[:200]
