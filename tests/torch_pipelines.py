"""Onward's pipelines with the model in torch instead of a graph: parity on many architectures without many exports.

Tokenizer, manifest and everything behind the model are those of a real bundle; only the session is another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from exporter.bundle_writer import accepts, labels, postprocess
from exporter.loading import Checkpoint, load_checkpoint, load_config
from exporter.source import resolve_source
from exporter.tasks import resolve_task
from exporter.tokenizer import save_tokenizer
from exporter.tracing.encoder import no_cache
from runtime import pipeline
from runtime.bundle import MANIFEST_FILE, GraphSpec, Manifest, TensorSpec, encode


class TorchSession:
    """Stands in for an ONNX Runtime session."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model = checkpoint.model

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            output = self.model(**{name: torch.from_numpy(a) for name, a in feeds.items()}, **no_cache(self.model))
        return [output[name].numpy() for name in names]


def torch_pipeline(task: str, checkpoint_folder: Path, bundle: Path, **kwargs: Any) -> Any:
    """`runtime.pipeline` over the checkpoint; `bundle` is an empty folder for what a bundle needs besides the graph."""
    source = resolve_source(str(checkpoint_folder))
    checkpoint = load_checkpoint(source, resolve_task(task, load_config(source), source))
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "model.onnx").touch()
    spec = save_tokenizer(checkpoint.tokenizer, bundle)
    names = [name for name in spec.model_input_names if accepts(checkpoint, name)]
    graph = GraphSpec(
        "model.onnx",
        [TensorSpec(name, "int64", ["batch", "sequence"]) for name in names],
        [
            TensorSpec(name, "float32", [dim if dim is not None else 0 for dim in dims])
            for name, dims in checkpoint.row.outputs
        ],
    )
    manifest = Manifest(
        name="torch",
        task=checkpoint.row.name,
        architecture=type(checkpoint.model).__name__,
        model_type=checkpoint.config.model_type,
        precision="fp32",
        path="plain",
        graphs={"model": graph},
        tokenizer=spec,
        labels=labels(checkpoint.config),
        postprocess=postprocess(checkpoint.config, checkpoint, {"model": graph}),
    )
    (bundle / MANIFEST_FILE).write_bytes(encode(manifest))
    with patch("runtime.session.open_session", lambda *_, **__: TorchSession(checkpoint)):
        return pipeline(task, bundle, **kwargs)
