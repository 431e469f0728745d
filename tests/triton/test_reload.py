"""New versions are picked up while old requests end on the old one; versions can be pinned; a broken one harms none."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from exporter.triton_config import triton_config
from runtime import pipeline
from runtime.bundle import MANIFEST_FILE, read_manifest
from runtime.errors import InputError
from runtime.triton.server import TritonServer
from tests.conftest import CAUSAL_LM, CLASSIFIER
from tests.triton.wire import generate, post

pytestmark = pytest.mark.triton


def copy_model(bundle: Path, repository: Path, parameters: dict[str, str] | None = None) -> Path:
    """A model directory of its own, with version 1."""
    model = Path(shutil.copytree(bundle, repository / bundle.name))
    with (model / "config.pbtxt").open("a") as config:
        for key, value in (parameters or {}).items():
            config.write(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n')
    return model


def add_version(model: Path, version: int, damage: str = "") -> None:
    """A further version, whole or not at all, as an export makes it; its labels are marked with its number."""
    staging = model.parent.parent / f"staging-{version}"
    shutil.copytree(model / "1", staging)
    manifest = json.loads((staging / MANIFEST_FILE).read_text())
    manifest |= {"version": version, "labels": [f"{label} {version}" for label in manifest["labels"]]}
    (staging / MANIFEST_FILE).write_text(json.dumps(manifest))
    if damage:
        (staging / damage).write_bytes(b"damaged")
    staging.rename(model / str(version))


def pin(model: Path, versions: str) -> None:
    """As an export with --version-policy writes it."""
    (model / "config.pbtxt").write_text(triton_config(read_manifest(model / "1" / MANIFEST_FILE), versions=versions))


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def label(server: TritonServer, version: str = "") -> str:
    """The classifier's answer, or the error."""
    path = f"/v2/models/{CLASSIFIER}{version}/generate"
    answer = post(server, path, {"text": "A good film."})[1]
    return str(answer.get("label", answer.get("error")))


@pytest.fixture(scope="module")
def polled(exported_repository: Path, server_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(server, repository): looks for changes every second."""
    repository = tmp_path_factory.mktemp("polled") / "models"
    copy_model(exported_repository / CLASSIFIER, repository)
    copy_model(exported_repository / CAUSAL_LM, repository, {"slots": "1"})
    with TritonServer() as server:
        server.start(repository, python=server_python, poll=1)
        server.wait_ready(timeout=120)
        yield server, repository


def test_old_requests_end_on_the_old_version(polled: Any) -> None:
    server, repository = polled

    def ask(index: int) -> tuple[int, Any, Any]:
        status, answer = generate(server, CAUSAL_LM, text_input="def", max_tokens=200)
        return status, answer.get("model_version"), answer.get("finish_reason")

    with ThreadPoolExecutor(24) as pool:
        early = [pool.submit(ask, index) for index in range(24)]
        time.sleep(0.3)  # one runs, all others wait for its slot
        add_version(repository / CAUSAL_LM, 2)
        until(lambda: generate(server, CAUSAL_LM, text_input="def", max_tokens=1)[1].get("model_version") == "2")
        answers = [future.result() for future in early]
    assert [answer[0] for answer in answers] == [200] * 24
    assert {answer[2] for answer in answers} <= {"length", "stop"}
    assert "1" in {answer[1] for answer in answers}


def test_a_broken_new_version_leaves_the_old_one(polled: Any) -> None:
    server, repository = polled
    assert " " not in label(server)
    add_version(repository / CLASSIFIER, 3, damage="model.onnx")
    until(lambda: any(model.version == "3" and model.state == "UNAVAILABLE" for model in server.models()))
    assert " " not in label(server)
    (reason,) = (model.reason for model in server.models() if model.version == "3")
    assert "model.onnx changed after the export (sha256 differs)" in reason
    shutil.rmtree(repository / CLASSIFIER / "3")


def test_versions_can_be_pinned_and_asked_for(polled: Any) -> None:
    server, repository = polled
    model = repository / CLASSIFIER
    pin(model, "1")
    add_version(model, 2)
    time.sleep(2.5)
    assert " " not in label(server)
    pin(model, "all")
    until(lambda: label(server).endswith(" 2"))
    assert (label(server, "/versions/1") + " 2") == label(server, "/versions/2")
    for scheme, protocol in (("triton", "grpc"), ("triton+http", "http")):
        address = f"{scheme}://{server.address(protocol)}/{CLASSIFIER}"
        labels = [pipeline(None, f"{address}/{version}")("A good film.")[0]["label"] for version in (1, 2)]
        assert labels[1] == f"{labels[0]} 2"
        with pytest.raises(Exception, match=r"serves no model|version") as refused:
            pipeline(None, f"{address}/9", retries=0)("x")
        assert not isinstance(refused.value, InputError)


def test_good_models_are_served_beside_a_corrupt_one(
    exported_repository: Path, server_python: Path, tmp_path: Path
) -> None:
    """And with explicit control a repaired model is loaded when a client asks for it."""
    model = copy_model(exported_repository / CLASSIFIER, tmp_path)
    broken = Path(shutil.copytree(model, tmp_path / "broken"))
    good = (broken / "1" / "tokenizer.json").read_bytes()
    (broken / "1" / "tokenizer.json").write_bytes(good[:100])
    with TritonServer() as server:
        server.start(tmp_path, python=server_python, explicit=True)
        models = server.wait_ready(timeout=120, all_models=False)
        assert [model.name for model in models if model.state == "READY"] == [CLASSIFIER]
        (reason,) = server.failed(models)
        assert "tokenizer.json changed after the export (sha256 differs); export again" in reason
        assert reason.startswith("broken: ") and "\n" not in reason
        assert label(server)
        (broken / "1" / "tokenizer.json").write_bytes(good)
        post_empty(server, "/v2/repository/models/broken/load")
        assert generate(server, "broken", text="A good film.")[0] == 200


def post_empty(server: TritonServer, path: str) -> None:
    """A POST whose answer has no body."""
    from urllib.request import Request, urlopen

    urlopen(Request(f"http://{server.address('http')}{path}", method="POST"), timeout=60).read()
