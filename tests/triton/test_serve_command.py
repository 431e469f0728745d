"""`onward serve` from a shell: what it prints works, Ctrl-C ends it in seconds, mistakes are one line."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.triton.test_server import processes_of, write_model

pytestmark = pytest.mark.triton

ANY_PORTS = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]


def command(server_python: Path, *arguments: str) -> list[str]:
    return [str(server_python), "-c", "from runtime.cli import main; main()", "serve", *arguments]


@contextmanager
def serving(server_python: Path, repository: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The running command and the lines it wrote until it was ready."""
    arguments = command(server_python, str(repository), *ANY_PORTS)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not (lines and lines[-1].startswith("Ctrl-C")):
                line = process.stdout.readline()
                assert line, f"it ended: {lines}"
                lines.append(line)
            yield process, lines
        finally:
            process.terminate()


def test_the_printed_requests_work_and_ctrl_c_stops_it(
    exported_repository: Path, tmp_path: Path, server_python: Path
) -> None:
    repository = shutil.copytree(exported_repository, tmp_path / "models")
    with serving(server_python, repository) as (process, lines):
        assert sum("READY" in line for line in lines) == 2
        curls = [shlex.split(line) for line in lines if line.startswith("curl ")]
        answers = [json.load(urlopen(Request(words[2], words[-1].encode()), timeout=60)) for words in curls]
        assert [sorted({"label", "text_output"} & set(answer)) for answer in answers] == [["text_output"], ["label"]]
        metrics = next(line.split()[1] for line in lines if line.startswith("metrics"))
        assert b"nv_inference_request_success" in urlopen(f"http://{metrics}", timeout=60).read()
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert time.monotonic() - begun < 10
        assert process.stdout is not None and process.stdout.read() == "Stopped.\n"
    assert processes_of(str(repository)) == []


def test_sigterm_stops_it_too(tmp_path: Path, server_python: Path) -> None:
    write_model(tmp_path, "double")
    with serving(server_python, tmp_path) as (process, _):
        process.terminate()
        assert process.wait(30) == 0
    assert processes_of(str(tmp_path)) == []


def test_a_server_that_dies_ends_it_with_1(tmp_path: Path, server_python: Path) -> None:
    write_model(tmp_path, "double")
    with serving(server_python, tmp_path) as (process, _):
        server = next(pid for pid in children(process.pid))
        os.kill(server, signal.SIGKILL)
        assert process.wait(30) == 1
        assert process.stdout is not None
        assert process.stdout.read().startswith("error: tritonserver ended by itself with status -9")


def children(pid: int) -> list[int]:
    """Process ids of the children of `pid`."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such/place"], "error: no model repository at /no/such/place: no such directory; make one with"),
        (["--python", "/bin/true", "REPOSITORY"], "error: /bin/true is not a Python that can be asked"),
        (["--http-port", "1", "--host", "203.0.113.1", "REPOSITORY"], "error: the http port 1 on 203.0.113.1 cannot"),
        (["--http-port", "0", "--host", "203.0.113.1", "REPOSITORY"], "error: no http port on 203.0.113.1 can be used"),
        (["--host", "no such host", "REPOSITORY"], "error: no such host is no address of this machine"),
        (
            ["--http-port", "7", "--grpc-port", "7", "REPOSITORY"],
            "error: http and grpc cannot both have port 7; choose",
        ),
        (["REPOSITORY/double"], "error: REPOSITORY/double is a model, not a repository: serve the directory"),
        (["REPOSITORY/double/1"], "error: REPOSITORY/double/1 is a version of a model: serve the repository that"),
        (["REPOSITORY/double/config.pbtxt"], "error: no model repository at REPOSITORY/double/config.pbtxt: that is a"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, server_python: Path, arguments: list[str], message: str) -> None:
    write_model(tmp_path, "double")
    words = [word.replace("REPOSITORY", str(tmp_path)) for word in arguments]
    done = subprocess.run(command(server_python, *words), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(message.replace("REPOSITORY", str(tmp_path)))
    assert done.stderr.count("\n") == 1
