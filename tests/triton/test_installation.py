"""Finding a server and reading its log: everything that needs no server."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.triton import installation
from runtime.triton.errors import ServerError
from runtime.triton.installation import find_installation, find_server, refuse_numpy_2
from runtime.triton.interpreter import Interpreter, inspect
from runtime.triton.ports import choose_ports
from runtime.triton.server import ServedModel, check_repository, failures, last_error, one_line, still_loading
from runtime.triton.settings import GenerationSettings, Settings, read_settings

LOG = """\
W1122 10:37:31.011827 6741 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory"
E1122 10:37:31.012031 6741 server.cc:241] "CudaDriverHelper has not been initialized."
I1122 10:37:31.318671 6741 model_lifecycle.cc:472] "loading: good:1"
I1122 10:37:31.318762 6741 model_lifecycle.cc:472] "loading: slow:1"
I1122 10:37:31.318901 6741 model_lifecycle.cc:472] "loading: bad:1"
I1122 10:37:32.402877 6741 model_lifecycle.cc:839] "successfully loaded 'good'"
E1122 10:37:32.122649 6741 model_lifecycle.cc:642] "failed to load 'bad' version 1: Internal: SyntaxError: x (model.py)"
"""


def interpreter(numpy: str | None) -> Interpreter:
    return Interpreter("3.11", ["/nowhere"], None, None, numpy, runtime=True)


@pytest.mark.parametrize(("numpy", "release"), [("2.0.0", "24.10"), ("2.4.6", "23.04")])
def test_numpy_2_under_an_old_server_is_refused(numpy: str, release: str) -> None:
    with pytest.raises(ServerError, match=rf"Triton {release} silently reads wrong values from numpy {numpy}: install"):
        refuse_numpy_2(interpreter(numpy), release)


@pytest.mark.parametrize(
    ("numpy", "release"), [("1.26.4", "24.10"), ("2.4.6", "24.11"), ("2.4.6", ""), (None, "24.10")]
)
def test_numpy_is_fine_otherwise(numpy: str | None, release: str) -> None:
    refuse_numpy_2(interpreter(numpy), release)


def test_a_server_on_path_is_used_with_the_interpreter_first_on_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tritonserver"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NVIDIA_TRITON_SERVER_VERSION", raising=False)
    found = find_installation(sys.executable, tmp_path)
    assert found.program == program == find_server(sys.executable)
    assert found.arguments == []
    assert found.environment == {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{tmp_path}"}


def test_an_old_server_on_path_is_refused_for_numpy_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tritonserver").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NVIDIA_TRITON_SERVER_VERSION", "24.10")
    monkeypatch.setattr(installation, "inspect", lambda _: interpreter("2.4.6"))
    with pytest.raises(ServerError, match=r"Triton 24\.10 silently reads wrong values"):
        find_installation(sys.executable, tmp_path)


def test_no_server_names_the_wheel_and_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "inspect", lambda _: interpreter("1.26.4"))
    with pytest.raises(ServerError) as refused:
        find_installation(sys.executable, tmp_path)
    assert "pip install --no-deps nvidia-pytriton==0.7.0" in str(refused.value)
    assert "docker run" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_libpython_says_how_to_get_it() -> None:
    with pytest.raises(ServerError, match=r"libpython3\.11\.so\.1\.0 is missing in /nowhere; install it"):
        interpreter("1.26.4").shared_library()


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/true"])
def test_what_is_not_a_python_is_said_so(python: str) -> None:
    with pytest.raises(ServerError, match=rf"{python} is not a Python that can be asked about its packages"):
        inspect(python)


def test_a_python_without_the_runtime_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\ncd / && exec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(ServerError, match="cannot import `runtime`"):
        inspect(bare)


def test_ports_are_free_and_distinct() -> None:
    ports = choose_ports("127.0.0.1", {"http": None, "grpc": None, "metrics": None})
    assert len(set(ports.values())) == 3
    for port in ports.values():
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"the grpc port {port} on 127\.0\.0\.1 cannot be used"):
            choose_ports("127.0.0.1", {"http": None, "grpc": port})


def test_repositories_that_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no such directory"):
        check_repository(tmp_path / "nothing")
    with pytest.raises(ServerError, match="holds no model"):
        check_repository(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.pbtxt").touch()
    with pytest.raises(
        ServerError, match=f"is a model, not a repository: serve the directory that holds it, {tmp_path}"
    ):
        check_repository(tmp_path / "model")
    assert check_repository(tmp_path) == tmp_path


def test_reasons_come_from_the_index_else_from_the_log() -> None:
    models = [ServedModel("good", "1", "READY", ""), ServedModel("worse", "1", "UNAVAILABLE", "no GPU")]
    assert failures(models, ["bad", "good"], LOG) == [
        "bad: failed to load 'bad' version 1: Internal: SyntaxError: x (model.py)",
        "worse: no GPU",
    ]
    assert failures(models[:1], ["good"], LOG) == []


def test_the_log_in_one_line() -> None:
    assert last_error(LOG) == "failed to load 'bad' version 1: Internal: SyntaxError: x (model.py)"
    assert last_error(LOG, about="'good'") == last_error(LOG)
    assert last_error("") == "(it wrote nothing)"
    assert still_loading(LOG) == "still loading: slow"
    assert still_loading("") == "its last words: (it wrote nothing)"


def test_python_stacks_are_cut_off_reasons() -> None:
    reason = "Internal: TritonModelException: m.json is damaged\n\nAt:\n  /srv/runtime/backend.py(48): initialize\n"
    assert one_line(reason) == "m.json is damaged"


def test_parameters_are_checked() -> None:
    parameters = {"provider": {"string_value": "cpu"}, "max_text_bytes": {"string_value": "10"}}
    assert read_settings({"parameters": parameters}, Settings) == Settings(provider="cpu", max_text_bytes=10)
    assert read_settings({}, GenerationSettings) == GenerationSettings()
    with pytest.raises(InputError, match=r"unknown field `providr`; known are task, provider, threads, max_text_bytes"):
        read_settings({"parameters": {"providr": {"string_value": "cpu"}}}, Settings)
    with pytest.raises(InputError, match=r"Expected `int`, got `str` - at `\$\.max_text_bytes`"):
        read_settings({"parameters": {"max_text_bytes": {"string_value": "much"}}}, Settings)
    with pytest.raises(InputError, match="unknown field `slots`"):
        read_settings({"parameters": {"slots": {"string_value": "4"}}}, Settings)


def test_the_pipeline_gets_what_is_set_and_keeps_its_own_defaults() -> None:
    assert Settings().pipeline_options() == {"provider": "cpu", "threads": None, "spinning": False}
    assert GenerationSettings().pipeline_options() == {"provider": "cpu", "threads": None, "spinning": False}
    parameters = {"slots": {"string_value": "4"}, "threads": {"string_value": "2"}}
    options = read_settings({"parameters": parameters}, GenerationSettings).pipeline_options()
    assert options == {"provider": "cpu", "threads": 2, "slots": 4, "spinning": False}
