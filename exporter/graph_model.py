"""`<name>_graph`: a bundle's raw graphs as models of Triton's own ONNX Runtime backend, tensors in and tensors out.

For those who tokenise elsewhere. The configuration is explicit, with every input of the graph, because Triton refuses a
model whose configuration leaves one out; the weights are hard links to the bundle's where the file system has them.
Rules of that backend: https://github.com/triton-inference-server/onnxruntime_backend
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from exporter.output import staged_output
from exporter.save import DATA_FILE
from exporter.triton_config import QUEUE_DELAY_MICROSECONDS, QUEUE_SIZE
from exporter.triton_options import Release
from runtime.bundle import GraphSpec, Manifest, TensorSpec
from runtime.errors import ExportError

MAX_BATCH = 32
TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
    "bool": "TYPE_BOOL",
}


def graph_names(name: str, manifest: Manifest) -> dict[str, str]:
    """Graph -> model: `<name>_graph`, or one for each of several graphs, `<name>_graph_encoder`."""
    graphs = manifest.graphs
    return {graph: f"{name}_graph" if len(graphs) == 1 else f"{name}_graph_{graph}" for graph in graphs}


def write_graph_models(bundle: Path, repository: Path, manifest: Manifest, release: Release, force: bool) -> list[Path]:
    """Write a model directory for each graph of `bundle` (a version directory); returns them.

    Raises `OnwardError` when one exists already (unless `force`), `ExportError` for a type that the backend lacks.
    """
    written = []
    for graph, name in graph_names(manifest.name, manifest).items():
        with staged_output(repository, name, manifest.version, force) as staging:
            version = staging / str(manifest.version)
            place_graph(bundle / manifest.graphs[graph].file, version, release)
            (staging / "config.pbtxt").write_text(graph_config(manifest.graphs[graph]))
        written.append(repository / name)
    return written


def place_graph(source: Path, version: Path, release: Release) -> None:
    """`model.onnx` and its weights; the IR version no newer than the release reads."""
    model = onnx.load(source, load_external_data=False)
    model.ir_version = min(model.ir_version, release.ir)
    onnx.save(model, version / "model.onnx")
    data = source.parent / DATA_FILE
    if data.is_file():
        try:
            # Not a symlink: ONNX Runtime refuses weights that lie outside of the model's directory.
            os.link(data, version / DATA_FILE)
        except OSError:
            shutil.copyfile(data, version / DATA_FILE)


def graph_config(spec: GraphSpec) -> str:
    """The text of `config.pbtxt`. Batched by Triton where every tensor begins with the batch dimension."""
    tensors = [*spec.inputs, *spec.outputs]
    batched = all(tensor.shape and tensor.shape[0] == "batch" for tensor in tensors)
    config = triton.ModelConfig(backend="onnxruntime", max_batch_size=MAX_BATCH if batched else 0)
    config.default_model_filename = "model.onnx"
    for tensor in spec.inputs:
        config.input.add(name=tensor.name, data_type=data_type(tensor), dims=dims(tensor, batched))
    for tensor in spec.outputs:
        config.output.add(name=tensor.name, data_type=data_type(tensor), dims=dims(tensor, batched))
    # Without it the backend makes two instances on a CPU, each with its own copy of the weights.
    config.instance_group.add(count=1, kind=triton.ModelInstanceGroup.KIND_AUTO)
    if batched:
        config.dynamic_batching.max_queue_delay_microseconds = QUEUE_DELAY_MICROSECONDS
        config.dynamic_batching.default_queue_policy.max_queue_size = QUEUE_SIZE
    return str(text_format.MessageToString(config))


def data_type(tensor: TensorSpec) -> int:
    """Triton's type. Raises `ExportError`."""
    if tensor.dtype not in TYPES:
        raise ExportError(f"{tensor.name} is {tensor.dtype}, which Triton's ONNX Runtime backend does not take")
    return int(triton.DataType.Value(TYPES[tensor.dtype]))


def dims(tensor: TensorSpec, batched: bool) -> list[int]:
    """Sizes as in the graph, -1 for free ones, without the batch; a scalar is `[1]`."""
    shape = tensor.shape[1:] if batched else tensor.shape
    return [size if isinstance(size, int) else -1 for size in shape] or [1]
