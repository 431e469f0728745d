"""Reaching a server: addresses, headers, TLS, timeouts, retries, and what is said when it does not work.

The servers here are stand-ins that speak just enough of the protocols; the real one is in tests/triton.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from runtime import pipeline
from runtime.client import connection
from runtime.client.address import Address, is_address, parse_address
from runtime.client.errors import ServerTimeoutError
from runtime.errors import CapacityError, InputError
from runtime.triton.errors import ServerError

ANSWER = b'[{"label": "GOOD", "score": 0.5}]'
Behaviour = Callable[[int], str]  # number of the inference -> "ok", "busy", "slow", "broken", "refused", "denied"
ALWAYS_OK: Behaviour = lambda number: "ok"  # noqa: E731


class Seen(list[dict[str, str]]):
    """The headers of the inferences."""


@contextmanager
def http_server(behave: Behaviour, tls: Any = None) -> Iterator[tuple[str, Seen]]:
    seen = Seen()
    content = len(ANSWER).to_bytes(4, "little") + ANSWER
    tensor = {"name": "json", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": len(content)}}
    header = json.dumps({"outputs": [tensor]}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, json.dumps({"parameters": {"task": {"string_value": "text-classification"}}}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(dict(self.headers))
            kind = behave(len(seen))
            if kind == "slow":
                time.sleep(1)
            if kind == "broken":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            bad = {
                "busy": (503, b'{"error": "Exceeds maximum queue size"}'),
                "refused": (400, b'{"error": "top_k is 0; it must be 1 or more"}'),
                "denied": (401, b'{"error": "who are you"}'),
                "html": (502, b"<html>Bad gateway</html>"),
            }
            if kind in bad:
                self.answer(*bad[kind])
            else:
                self.answer(200, header + content, {"Inference-Header-Content-Length": str(len(header))})

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def grpc_server(behave: Behaviour, credentials: Any = None) -> Iterator[tuple[str, Seen]]:
    seen = Seen()

    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelConfig(self, request: Any, context: Any) -> Any:
            answer = service_pb2.ModelConfigResponse()
            answer.config.parameters["task"].string_value = "text-classification"
            return answer

        def ModelInfer(self, request: Any, context: Any) -> Any:
            seen.append(dict(context.invocation_metadata()))
            kind = behave(len(seen))
            if kind == "slow":
                time.sleep(1)
            codes = {
                "busy": (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"),
                "broken": (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
                "refused": (grpc.StatusCode.INVALID_ARGUMENT, "top_k is 0; it must be 1 or more"),
                "denied": (grpc.StatusCode.UNAUTHENTICATED, "who are you"),
            }
            if kind in codes:
                context.abort(*codes[kind])
            answer = service_pb2.ModelInferResponse()
            tensor = answer.outputs.add()
            tensor.name, tensor.datatype = "json", "BYTES"
            tensor.shape.extend([1, 1])
            answer.raw_output_contents.append(len(ANSWER).to_bytes(4, "little") + ANSWER)
            return answer

    server = grpc.server(futures.ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    where = "127.0.0.1:0"
    port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    server.start()
    try:
        yield f"127.0.0.1:{port}", seen
    finally:
        server.stop(None).wait()


SERVERS: dict[str, Any] = {"triton": grpc_server, "triton+http": http_server}
BOTH = pytest.mark.parametrize("scheme", SERVERS)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_FIRST_PAUSE", 0.001)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("triton://host/gpt2", Address("grpc", False, "host", 8001, "gpt2")),
        ("triton://host:9/gpt2/3", Address("grpc", False, "host", 9, "gpt2", "3")),
        ("tritons://[::1]:9/a%20b/", Address("grpc", True, "::1", 9, "a b")),
        ("triton+http://h/gpt2", Address("http", False, "h", 8000, "gpt2")),
        ("tritons+http://h/gpt2", Address("http", True, "h", 443, "gpt2")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert is_address(text)
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("triton+ftp://h/m", r"unknown scheme 'triton\+ftp', use one of triton, "),
        ("triton://h", "an address is triton://host:8001/name"),
        ("triton://h/m/latest", "the version is a number, not 'latest'"),
        ("triton://h/m/1/x", "an address is"),
        ("triton://h:99999/m", "out of range"),
        ("triton://me:secret@h/m", r"pass token=\.\.\."),
    ],
)
def test_addresses_that_are_none(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        pipeline(None, text)
    assert "secret" not in str(refused.value)


def test_paths_are_no_addresses() -> None:
    assert not any(map(is_address, ["model_repository/gpt2", "/triton://", Path("x"), "http://h/m", "tritonx://h/m"]))


@BOTH
def test_headers_and_tokens_are_sent(scheme: str) -> None:
    with SERVERS[scheme](ALWAYS_OK) as (address, seen):
        pipe = pipeline("text-classification", f"{scheme}://{address}/m", token="t0k", headers={"X-Team": "a"})
        assert pipe("x") == [{"label": "GOOD", "score": 0.5}]
    sent = {name.lower(): value for name, value in seen[0].items()}
    assert (sent["authorization"], sent["x-team"]) == ("Bearer t0k", "a")


@BOTH
@pytest.mark.parametrize("kind", ["busy", "broken"])
def test_it_tries_again_and_says_so_when_it_gives_up(scheme: str, kind: str) -> None:
    with SERVERS[scheme](lambda number: kind if number < 3 else "ok") as (address, seen):
        assert pipeline("text-classification", f"{scheme}://{address}/m")("x")
        assert len(seen) == 3
    expected = {"busy": (CapacityError, "Exceeds maximum queue size"), "broken": (ServerError, "is it running")}[kind]
    with SERVERS[scheme](lambda number: kind) as (address, seen):
        with pytest.raises(expected[0], match=expected[1]):
            pipeline("text-classification", f"{scheme}://{address}/m", retries=1)("x")
        assert len(seen) == 2


@BOTH
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("refused", InputError, "^top_k is 0; it must be 1 or more$"),
        ("denied", ServerError, r"denies access \(who are you\): pass token="),
    ],
)
def test_what_another_try_would_not_mend_is_said_at_once(
    scheme: str, kind: str, error: type[Exception], message: str
) -> None:
    with SERVERS[scheme](lambda number: kind) as (address, seen):
        with pytest.raises(error, match=message):
            pipeline("text-classification", f"{scheme}://{address}/m")("x")
        assert len(seen) == 1


@BOTH
def test_a_request_that_takes_too_long_ends(scheme: str) -> None:
    with SERVERS[scheme](lambda number: "slow") as (address, _):
        pipe = pipeline("text-classification", f"{scheme}://{address}/m", request_timeout=0.3)
        begun = time.monotonic()
        with pytest.raises(ServerTimeoutError, match=r"did not answer within 0.3 seconds: pass a larger"):
            pipe("x")
        assert time.monotonic() - begun < 0.9


@BOTH
def test_nobody_there(scheme: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"{scheme}://127.0.0.1:{bound.getsockname()[1]}/m"
        with pytest.raises(ServerError, match=r"no Triton server answers at 127\.0\.0\.1") as refused:
            pipeline("text-classification", address, retries=0)
    assert "\n" not in str(refused.value)


@BOTH
def test_another_task_is_refused(scheme: str) -> None:
    with SERVERS[scheme](ALWAYS_OK) as (address, _), pytest.raises(InputError, match="serves text-classification, not"):
        pipeline("fill-mask", f"{scheme}://{address}/m")


def test_a_gateway_that_answers_in_html_is_one_line() -> None:
    with http_server(lambda number: "html") as (address, _), pytest.raises(ServerError, match="status 502") as refused:
        pipeline("text-classification", f"triton+http://{address}/m", retries=0)("x")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"provider": "cuda"}, "provider: the server decides that"),
        ({"version": 2}, "a version stands in the address"),
        ({"request_timeout": 0}, "request_timeout is a number of seconds"),
        ({"retries": -1}, "retries is 0 or more"),
        ({"headers": {"a": "b\r\nc: d"}}, "line break"),
        ({"headers": {"a": 1}}, "headers is a dict of texts"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pipeline(None, "triton://127.0.0.1:1/m", **settings)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_over_grpc(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    with grpc_server(ALWAYS_OK, credentials) as (address, _):
        assert pipeline("text-classification", f"tritons://{address}/m", ssl_ca=str(cert))("x")
        with pytest.raises(ServerError):
            pipeline("text-classification", f"tritons://{address}/m", retries=0)


def test_tls_over_http(certificate: tuple[Path, Path]) -> None:
    import ssl

    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with http_server(ALWAYS_OK, context) as (address, _):
        assert pipeline("text-classification", f"tritons+http://{address}/m", ssl_ca=str(cert))("x")
        with pytest.raises(ServerError, match="certificate"):
            pipeline("text-classification", f"tritons+http://{address}/m", retries=0)
    with pytest.raises(InputError, match="a file for TLS cannot be read"):
        pipeline(None, f"tritons://{address}/m", ssl_ca="/no/such/file")


def test_tritonclient_is_imported_only_for_grpc() -> None:
    program = (
        "import sys\nimport runtime\nfrom runtime import pipeline\nfrom runtime.errors import OnwardError\n"
        "def loaded(): return any(name.startswith(('tritonclient', 'grpc')) for name in sys.modules)\n"
        "def ask(address):\n"
        "    try: pipeline(None, address, retries=0)\n"
        "    except OnwardError: pass\n"
        "ask('triton+http://127.0.0.1:1/m'); print(loaded()); ask('triton://127.0.0.1:1/m'); print(loaded())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False", "True"]
