"""Vision tasks under a real Triton: files and base64 in, the pipeline's answers out; nothing is read for clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from runtime import pipeline
from runtime.images import load_image
from runtime.triton.server import TritonServer
from tests.checkpoints.train.shape_detector import heldout
from tests.pictures import as_bytes
from tests.triton.wire import generate

pytestmark = pytest.mark.triton

IMAGES = [as_bytes(image, file_format) for (image, _), file_format in zip(heldout(4), ["PNG", "JPEG"] * 2, strict=True)]


@pytest.fixture(scope="module")
def server(shapes_repository: Path, server_python: Path) -> Iterator[TritonServer]:
    with TritonServer() as running:
        running.start(shapes_repository, python=server_python)
        running.wait_ready(timeout=120)
        yield running
        assert running.running(), f"the server died:\n{running.log()}"


@pytest.fixture(scope="module")
def local(shapes_repository: Path) -> dict[str, Any]:
    return {name: pipeline(None, shapes_repository / name) for name in ("classifier", "detector")}


def infer(server: TritonServer, model: str, images: list[bytes], **numbers: Any) -> dict[str, Any]:
    """One gRPC request; outputs by name."""
    content = tritonclient.grpc.InferInput("image", [len(images), 1], "BYTES")
    content.set_data_from_numpy(np.array([[image] for image in images], dtype=np.object_))
    inputs = [content]
    for name, value in numbers.items():
        array = np.full((len(images), 1), value, dtype=np.float32 if isinstance(value, float) else np.int32)
        inputs.append(tritonclient.grpc.InferInput(name, list(array.shape), "FP32" if name == "threshold" else "INT32"))
        inputs[-1].set_data_from_numpy(array)
    with tritonclient.grpc.InferenceServerClient(server.address("grpc")) as client:
        answer = client.infer(model, inputs)
        names = [output.name for output in answer.get_response().outputs]
    return {name: answer.as_numpy(name) for name in names}


def test_classification_of_files(server: TritonServer, local: dict[str, Any]) -> None:
    answer = infer(server, "classifier", IMAGES, top_k=2)
    expected = local["classifier"]([load_image(image) for image in IMAGES], top_k=2, batch_size=4)
    assert [json.loads(line[0]) for line in answer["json"]] == expected
    assert [[label.decode() for label in row] for row in answer["label"]] == [[e["label"] for e in r] for r in expected]
    scores = np.array([[entry["score"] for entry in row] for row in expected], dtype=np.float32)
    np.testing.assert_array_equal(answer["score"], scores)


def test_detection_of_files(server: TritonServer, local: dict[str, Any]) -> None:
    answer = infer(server, "detector", IMAGES, threshold=0.5)
    expected = local["detector"]([load_image(image) for image in IMAGES], batch_size=4)
    assert [json.loads(line[0]) for line in answer["json"]] == expected
    most = max(len(row) for row in expected)
    assert answer["box"].shape == (4, most, 4)
    for row, objects in enumerate(expected):
        assert [label.decode() for label in answer["label"][row]] == [e["label"] for e in objects] + [""] * (
            most - len(objects)
        )
        for column, entry in enumerate(objects):
            assert answer["box"][row, column].tolist() == list(entry["box"].values())


def test_nothing_found_is_an_answer(server: TritonServer) -> None:
    answer = infer(server, "detector", IMAGES[:1], threshold=1.0)
    assert json.loads(answer["json"][0, 0]) == []
    assert answer["score"].shape == (1, 0)
    assert answer["box"].shape == (1, 0, 4)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_base64_over_http(server: TritonServer, local: dict[str, Any], prefix: str) -> None:
    encoded = prefix + base64.b64encode(IMAGES[0]).decode()
    for model in ("classifier", "detector"):
        status, answer = generate(server, model, image=encoded)
        assert status == 200, answer
        assert json.loads(answer["json"]) == local[model](load_image(IMAGES[0]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("/etc/hostname", "base64"),
        ("http://127.0.0.1:1/picture.png", "base64"),
        ("file:///etc/hostname", "base64"),
        ("", "not an image"),
        (base64.b64encode(b"no image").decode(), "not an image"),
        (base64.b64encode(IMAGES[0][: len(IMAGES[0]) // 2]).decode(), "truncated"),
        (base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n").decode(), "not an image"),
    ],
)
def test_what_is_no_image_is_said(server: TritonServer, image: str, message: str) -> None:
    status, answer = generate(server, "classifier", image=image)
    assert status == 400 and message in answer["error"], answer


def test_a_damaged_image_hurts_nobody_else(server: TritonServer, local: dict[str, Any]) -> None:
    jobs = [IMAGES[i % 4] if i % 5 else b"\xff\xd8 damaged" for i in range(40)]

    def ask(content: bytes) -> tuple[int, dict[str, Any]]:
        return generate(server, "detector", image=base64.b64encode(content).decode())

    alone = {image: local["detector"](load_image(image)) for image in IMAGES}
    with ThreadPoolExecutor(8) as pool:
        for job, (status, answer) in zip(jobs, pool.map(ask, jobs), strict=True):
            assert status == (200 if job in alone else 400)
            if job in alone:
                found = json.loads(answer["json"])
                assert [entry["label"] for entry in found] == [entry["label"] for entry in alone[job]]


def test_bad_arguments(server: TritonServer) -> None:
    encoded = base64.b64encode(IMAGES[0]).decode()
    assert generate(server, "classifier", image=encoded, top_k=-1)[0] == 400
