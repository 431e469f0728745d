"""`<name>_graph`: raw graphs for Triton's own ONNX Runtime backend.

The wheel's server does not have that backend: a Python model that runs the graph stands in for it, under the same
configuration otherwise, so Triton checks names, types, shapes and batching as it would for the real one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tritonclient.grpc
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from exporter.graph_model import graph_config, write_graph_models
from exporter.triton_options import RELEASES, TritonOptions, find_release
from runtime import pipeline
from runtime.bundle import MANIFEST_FILE, read_manifest
from runtime.errors import ExportError, OnwardError
from runtime.triton.server import TritonServer
from tests.conftest import CLASSIFIER

STAND_IN = """
import json
from pathlib import Path
import onnxruntime
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path))
        self.outputs = [output["name"] for output in json.loads(args["model_config"])["output"]]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        feeds = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        found = self.session.run(self.outputs, feeds)
        return pb_utils.InferenceResponse([pb_utils.Tensor(*pair) for pair in zip(self.outputs, found)])
"""


@pytest.fixture(scope="module")
def graph_repository(classifier_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("graph") / "models"
    bundle = classifier_bundle / "1"
    repository.mkdir()
    write_graph_models(bundle, repository, read_manifest(bundle / MANIFEST_FILE), RELEASES["24.10"], force=False)
    return repository


def test_the_configuration_lists_what_the_graph_has(graph_repository: Path) -> None:
    folder = graph_repository / f"{CLASSIFIER}_graph"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), triton.ModelConfig())
    session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"))
    assert [tensor.name for tensor in config.input] == [tensor.name for tensor in session.get_inputs()]
    assert [tensor.name for tensor in config.output] == [tensor.name for tensor in session.get_outputs()]
    assert (config.backend, config.max_batch_size, config.default_model_filename) == ("onnxruntime", 32, "model.onnx")
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, triton.ModelInstanceGroup.KIND_AUTO)]
    assert config.HasField("dynamic_batching")
    assert [list(tensor.dims) for tensor in config.input] == [[-1]] * len(config.input)
    assert list(config.output[0].dims) == [2]


def test_opset_and_ir_are_those_of_the_release(graph_repository: Path) -> None:
    model = onnx.load(graph_repository / f"{CLASSIFIER}_graph" / "1" / "model.onnx", load_external_data=False)
    assert model.ir_version <= RELEASES["24.10"].ir
    assert max(entry.version for entry in model.opset_import if entry.domain == "") <= RELEASES["24.10"].opset


def test_the_weights_are_on_disk_once(graph_repository: Path, classifier_bundle: Path) -> None:
    ours, theirs = (
        path / "1" / "model.onnx.data" for path in (graph_repository / f"{CLASSIFIER}_graph", classifier_bundle)
    )
    assert ours.samefile(theirs) or ours.stat().st_dev != theirs.stat().st_dev
    assert not ours.is_symlink()


def test_an_existing_one_is_not_replaced_by_accident(graph_repository: Path, classifier_bundle: Path) -> None:
    bundle = classifier_bundle / "1"
    manifest = read_manifest(bundle / MANIFEST_FILE)
    with pytest.raises(OnwardError, match="exists: pass --force"):
        write_graph_models(bundle, graph_repository, manifest, RELEASES["26.08"], force=False)


def test_graphs_with_a_cache_are_not_batched_by_triton(causal_lm_bundle: Path) -> None:
    spec = read_manifest(causal_lm_bundle / "1" / MANIFEST_FILE).graphs["model"]
    config = text_format.Parse(graph_config(spec), triton.ModelConfig())
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    shapes = {tensor.name: list(tensor.dims) for tensor in [*config.input, *config.output]}
    assert all(len(shapes[tensor.name]) == max(len(tensor.shape), 1) for tensor in [*spec.inputs, *spec.outputs])


@pytest.mark.parametrize(
    ("options", "opset", "message"),
    [
        (
            TritonOptions(graph_model=True, release="24.10"),
            22,
            "Triton 24.10 has ONNX Runtime 1.19.2, which takes opset",
        ),
        (TritonOptions(graph_model=True, release="23.01"), 18, "older than 24.10"),
        (TritonOptions(graph_model=True, release="new"), 18, "'new' is no Triton release"),
        (TritonOptions(release="25.08"), 18, "pass both"),
        (TritonOptions(version_policy="newest"), 18, "unknown version policy 'newest'"),
        (TritonOptions(version_policy="latest:0"), 18, "unknown version policy"),
    ],
)
def test_options_that_cannot_be(options: TritonOptions, opset: int, message: str) -> None:
    with pytest.raises(ExportError, match=re.escape(message)):
        options.check(opset)


def test_a_release_between_two_known_ones_counts_as_the_older() -> None:
    assert find_release("25.05") == RELEASES["25.03"]
    assert find_release(None) == RELEASES["26.08"]


@pytest.mark.triton
def test_triton_accepts_it_and_its_tensors(
    graph_repository: Path, classifier_bundle: Path, server_python: Path, tmp_path: Path
) -> None:
    folder = graph_repository / f"{CLASSIFIER}_graph"
    model = tmp_path / "graph"
    (model / "1").mkdir(parents=True)
    for path in (folder / "1").iterdir():
        (model / "1" / path.name).hardlink_to(path)
    config = (folder / "config.pbtxt").read_text().replace('backend: "onnxruntime"', 'backend: "python"')
    (model / "config.pbtxt").write_text(config.replace("model.onnx", "model.py"))
    (model / "1" / "model.py").write_text(STAND_IN)
    pipe: Any = pipeline("text-classification", classifier_bundle)
    inputs = pipe.preprocess("A wonderful film.")
    with TritonServer() as server:
        server.start(tmp_path, python=server_python)
        server.wait_ready(timeout=120)
        with tritonclient.grpc.InferenceServerClient(server.address("grpc")) as client:
            tensors = [
                tritonclient.grpc.InferInput(name, list(values.shape), "INT64") for name, values in inputs.items()
            ]
            for tensor, values in zip(tensors, inputs.values(), strict=True):
                tensor.set_data_from_numpy(values)
            logits = client.infer("graph", tensors).as_numpy("logits")
    np.testing.assert_allclose(logits, pipe.forward(inputs)["logits"], atol=1e-6)
