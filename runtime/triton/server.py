"""Starts a real tritonserver on a model repository, waits until it answers, and stops it without leaving anything."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from runtime.triton.errors import ServerError
from runtime.triton.installation import Installation, find_installation, find_server
from runtime.triton.ports import choose_ports

__all__ = ["ServedModel", "TritonServer", "find_server"]

EXIT_TIMEOUT = 5  # seconds the server waits for requests that still run when it is told to stop
_KILL_AFTER = EXIT_TIMEOUT + 5
_POLL = 0.05
_NO_GPU = "CudaDriverHelper"  # the server's first error on every machine without a GPU, and no reason for anything


@dataclass(frozen=True)
class ServedModel:
    """One entry of the server's repository index."""

    name: str
    version: str
    state: str  # "READY", "UNAVAILABLE", "LOADING", ...
    reason: str


class TritonServer:
    """A tritonserver process. Use it as a context manager, or call `start`, `wait_ready` and `stop`.

    >>> with TritonServer() as server:
    ...     server.start("model_repository")
    ...     server.wait_ready(timeout=120)
    """

    def __init__(self) -> None:
        self.host = ""
        self.ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._repository = Path()
        self._control: list[str] = []
        self._log = ""

    def start(
        self,
        repository: str | Path,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        host: str = "127.0.0.1",
        python: str | Path = sys.executable,
        poll: int | None = None,
        explicit: bool = False,
    ) -> None:
        """Start serving `repository` and return at once; ports that are `None` are chosen among the free ones.

        `python` is the interpreter in whose environment the models run. poll: seconds between looks at the repository
        for new, changed and removed versions. explicit: all models are loaded, and again only when a client says so
        (`/v2/repository/models/<name>/load`). Raises `ServerError` when there is no server, the repository holds no
        model, or a port is taken.
        """
        if self._process is not None:
            raise ServerError("this TritonServer is running already; stop it first")
        self._repository = check_repository(Path(repository))
        self._control = control_arguments(poll, explicit)
        self.host = host
        self.ports = choose_ports(host, {"http": http_port, "grpc": grpc_port, "metrics": metrics_port})
        self._scratch = tempfile.TemporaryDirectory(prefix="onward-triton-")
        atexit.register(self.stop)  # a program that ends by an exception leaves no server behind
        try:
            self._launch(find_installation(python, Path(self._scratch.name)))
        except BaseException:
            self._clean_up()
            raise

    def wait_ready(self, timeout: float = 300.0, all_models: bool = True) -> list[ServedModel]:
        """Wait until every model is ready and return them.

        Raises `ServerError`, and stops the server, when a model fails to load (with its reason; without `all_models`
        only when none does load), the server exits, or `timeout` seconds pass.
        """
        try:
            self._wait_alive(time.monotonic() + timeout)
            models = self.models()
            failed = self.failed(models)
            if failed and (all_models or not any(model.state == "READY" for model in models)):
                raise ServerError(f"{len(failed)} of the repository's models failed to load: {'; '.join(failed)}")
        except BaseException:
            self.stop()
            raise
        return models

    def failed(self, models: list[ServedModel]) -> list[str]:
        """`name: reason` for every model of the repository that is not among the ready ones of `models`."""
        return failures(models, model_directories(self._repository), self.log())

    def models(self) -> list[ServedModel]:
        """The server's repository index."""
        entries = json.loads(self._request("/v2/repository/index", method="POST") or "[]")
        return [
            ServedModel(e["name"], e.get("version", ""), e.get("state", ""), one_line(e.get("reason", "")))
            for e in entries
        ]

    def stop(self) -> None:
        """Ask the server to end, wait, and kill what is left of it after 10 seconds. Safe to call more than once."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_KILL_AFTER)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # The stub processes are in the server's group: none may outlive it, however it ended.
            _kill_group(process.pid)
            process.wait()
            self._clean_up()

    def wait(self) -> None:
        """Wait until the server ends by itself, which it should not: raises `ServerError` with its last words."""
        assert self._process is not None, "start it first"
        status = self._process.wait()
        raise ServerError(f"tritonserver ended by itself with status {status}: {last_error(self.log())}")

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None, "start it first"
        return self._process.pid

    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Everything the server has written so far; after `stop`, everything it ever wrote."""
        if self._scratch is not None:
            path = Path(self._scratch.name) / "server.log"
            self._log = path.read_text(errors="replace") if path.exists() else ""
        return self._log

    def address(self, protocol: str) -> str:
        """`host:port` of "http", "grpc" or "metrics", as a client on this machine writes it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]:{self.ports[protocol]}" if ":" in host else f"{host}:{self.ports[protocol]}"

    def __enter__(self) -> TritonServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _launch(self, installation: Installation) -> None:
        assert self._scratch is not None
        command = [str(installation.program), *self._arguments(), *installation.arguments]
        with (Path(self._scratch.name) / "server.log").open("wb") as log:
            # Its own session: a Ctrl-C in our terminal reaches us alone, and we stop the server in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **installation.environment},
                start_new_session=True,
            )

    def _arguments(self) -> list[str]:
        addresses = [f"--{protocol}-address={self.host}" for protocol in self.ports]
        ports = [f"--{protocol}-port={port}" for protocol, port in self.ports.items()]
        return [
            f"--model-repository={self._repository}",
            *addresses,
            *ports,
            *self._control,
            f"--exit-timeout-secs={EXIT_TIMEOUT}",
            "--disable-auto-complete-config",  # config.pbtxt is complete; completing it would start every model twice
            "--exit-on-error=false",  # so that the index can tell us why a model failed
        ]

    def _wait_alive(self, deadline: float) -> None:
        while True:
            if not self.running():
                raise ServerError(f"tritonserver ended before it was ready: {last_error(self.log())}")
            if self._request("/v2/health/live") is not None:
                return
            if time.monotonic() > deadline:
                raise ServerError(f"tritonserver was not ready in time; {still_loading(self.log())}")
            time.sleep(_POLL)

    def _request(self, path: str, method: str = "GET") -> str | None:
        """The body of the answer; `None` when there is nobody to answer, or the answer is an error."""
        request = urllib.request.Request(f"http://{self.address('http')}{path}", method=method)
        # No proxy from the environment: the server is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return None

    def _clean_up(self) -> None:
        self.log()
        self._process = None
        atexit.unregister(self.stop)
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def control_arguments(poll: int | None, explicit: bool) -> list[str]:
    """The server's arguments for when it looks at its repository again; never, as Triton's own default."""
    if poll is not None and explicit:
        raise ServerError("poll and explicit exclude each other: the server looks by itself, or waits to be told")
    if poll is not None:
        return ["--model-control-mode=poll", f"--repository-poll-secs={poll}"]
    return ["--model-control-mode=explicit", "--load-model=*"] if explicit else []


def check_repository(path: Path) -> Path:
    """`path`, absolute. Raises `ServerError` unless it is a directory that holds at least one model."""
    if not path.is_dir():
        what = "that is a file" if path.exists() else "no such directory"
        raise ServerError(f"no model repository at {path}: {what}; make one with `onward export`")
    if (path.parent / "config.pbtxt").is_file():
        raise ServerError(f"{path} is a version of a model: serve the repository that holds it, {path.parents[1]}")
    if (path / "config.pbtxt").is_file():
        raise ServerError(f"{path} is a model, not a repository: serve the directory that holds it, {path.parent}")
    if not model_directories(path):
        raise ServerError(f"{path} holds no model (<name>/config.pbtxt); make one with `onward export`")
    return path.resolve()


def model_directories(repository: Path) -> list[str]:
    """Names of the repository's models."""
    return sorted(p.parent.name for p in repository.glob("*/config.pbtxt"))


def failures(models: list[ServedModel], expected: list[str], log: str) -> list[str]:
    """`name: reason` for every model of the repository that is not ready."""
    ready = {model.name for model in models if model.state == "READY"}
    reasons = {model.name: model.reason for model in models if model.state != "READY"}
    names = [name for name in dict.fromkeys([*expected, *reasons]) if name not in ready]
    return [f"{name}: {reasons.get(name) or last_error(log, about=repr(name))}" for name in names]


def last_error(log: str, about: str = "") -> str:
    """The last error line of a server's log that mentions `about`, without its timestamp and source position."""
    errors = [line for line in log.splitlines() if re.match(r"[EF]\d{4} ", line) and _NO_GPU not in line]
    found = [line for line in errors if about in line]
    line = found[-1] if found else (log.strip().splitlines() or ["(it wrote nothing)"])[-1]
    return one_line(re.sub(r"^[A-Z]\d{4} [\d:.]+ \d+ [\w./]+:\d+\] ", "", line).strip('"'))


def still_loading(log: str) -> str:
    """Which models a server's log says it began to load and never ended."""
    begun = re.findall(r"\"loading: (.+):\d+\"", log)
    ended = set(re.findall(r"(?:successfully loaded|failed to load) '(.+?)'", log))
    waiting = [name for name in begun if name not in ended]
    return f"still loading: {', '.join(waiting)}" if waiting else f"its last words: {last_error(log)}"


def one_line(reason: str) -> str:
    """A reason without the Python exception's name in front and the Python stack that the backend appends."""
    message = reason.replace("\\n", "\n").split("\n\nAt:")[0]
    return " ".join(message.removeprefix("Internal: ").removeprefix("TritonModelException: ").split())


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
