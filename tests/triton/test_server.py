"""Starting and stopping: ports, models that do not load, and nothing left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runtime.triton.errors import ServerError
from runtime.triton.server import TritonServer

pytestmark = pytest.mark.triton

CONFIG = """
backend: "python"
max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: -1 }
output { name: "y" data_type: TYPE_FP32 dims: -1 }
instance_group { count: 1 kind: KIND_CPU }
"""
MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        tensors = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", 2 * tensor)]) for tensor in tensors]
"""


def write_model(repository: Path, name: str, model: str = MODEL, config: str = CONFIG) -> None:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)
    (repository / name / "1" / "model.py").write_text(model)


def processes_of(directory: str) -> list[str]:
    """Command lines of living processes that mention `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if directory in command:
                found.append(command)
    return found


def test_starts_on_free_ports_and_stops_in_seconds_without_a_trace(tmp_path: Path, server_python: Path) -> None:
    write_model(tmp_path, "double")
    (tmp_path / "README.md").write_text("Files beside the models do no harm.")
    server = TritonServer()
    server.start(tmp_path, python=server_python)
    models = server.wait_ready(timeout=60)
    assert [(model.name, model.version, model.state) for model in models] == [("double", "1", "READY")]
    assert len(processes_of(str(tmp_path))) >= 2, "the server and the stub of its model"
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 10
    assert processes_of(str(tmp_path)) == []
    assert "successfully unloaded 'double'" in server.log()
    server.stop()  # once more does nothing


def test_every_model_that_does_not_load_is_named_with_its_reason(tmp_path: Path, server_python: Path) -> None:
    write_model(tmp_path, "good")
    write_model(tmp_path, "syntax", model="class TritonPythonModel(:")
    write_model(tmp_path, "config", config=CONFIG + "colour: 3")
    write_model(tmp_path, "bundle", model="from runtime.triton import TritonPythonModel")
    with TritonServer() as server:
        server.start(tmp_path, python=server_python)
        with pytest.raises(ServerError) as failed:
            server.wait_ready(timeout=60)
        message = str(failed.value)
        assert message.startswith("3 of the repository's models failed to load: ")
        assert "syntax: SyntaxError: invalid syntax (model.py, line 1)" in message
        assert "bundle: " in message
        assert "bundle.json cannot be read" in message
        assert "config: Poll failed for model directory 'config': failed to read text proto" in message
        assert "\n" not in message
        assert not server.running()
    assert processes_of(str(tmp_path)) == []


def test_an_unknown_parameter_keeps_a_model_from_loading(
    classifier_bundle: Path, tmp_path: Path, server_python: Path
) -> None:
    (tmp_path / "misspelt").mkdir()
    (tmp_path / "misspelt" / "1").symlink_to(classifier_bundle / "1")
    config = (classifier_bundle / "config.pbtxt").read_text()
    (tmp_path / "misspelt" / "config.pbtxt").write_text(config.replace('"provider"', '"providr"'))
    with TritonServer() as server:
        server.start(tmp_path, python=server_python)
        with pytest.raises(ServerError, match=r"misspelt: config\.pbtxt, parameters: .*unknown field `providr`; known"):
            server.wait_ready(timeout=60)


def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path: Path, server_python: Path) -> None:
    slow = MODEL + "\n    def initialize(self, args):\n        import time\n        time.sleep(30)\n"
    write_model(tmp_path, "slow", model=slow)
    with TritonServer() as server:
        server.start(tmp_path, python=server_python)
        with pytest.raises(ServerError, match="tritonserver was not ready in time; still loading: slow"):
            server.wait_ready(timeout=2)
    assert processes_of(str(tmp_path)) == []


def test_a_server_that_dies_is_said_so(tmp_path: Path, server_python: Path) -> None:
    write_model(tmp_path, "double")
    with TritonServer() as server:
        server.start(tmp_path, python=server_python)
        server.wait_ready(timeout=60)
        os.kill(server.pid, 9)
        with pytest.raises(ServerError, match="tritonserver ended by itself with status -9"):
            server.wait()
    assert processes_of(str(tmp_path)) == []


def test_start_twice_is_refused(tmp_path: Path, server_python: Path) -> None:
    write_model(tmp_path, "double")
    with TritonServer() as server:
        server.start(tmp_path, python=server_python)
        with pytest.raises(ServerError, match="running already"):
            server.start(tmp_path, python=server_python)
        server.wait_ready(timeout=60)
