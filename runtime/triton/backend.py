"""`TritonPythonModel`: what Triton's Python backend finds in `model.py`. It serves the bundle that lies beside it.

Interface: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/python_backend/README.html
Nothing heavy is imported before the server asks for a model, because `runtime.triton` is also where `onward serve` is.
"""

from __future__ import annotations

import gc
import json
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from runtime.errors import BundleError, OnwardError
from runtime.triton.settings import GenerationSettings, ImageSettings, SentenceSettings, Settings, read_settings


class Implementation(NamedTuple):
    """How a task is served: a class that takes (pipeline, settings) and warms up before its constructor returns."""

    module: str
    name: str
    settings: type[Settings]


IMPLEMENTATIONS = {
    "text-classification": Implementation("runtime.triton.classification", "ClassificationModel", Settings),
    "text2text-generation": Implementation("runtime.triton.text_tasks", "TextTaskModel", Settings),
    "summarization": Implementation("runtime.triton.text_tasks", "TextTaskModel", Settings),
    "translation": Implementation("runtime.triton.text_tasks", "TextTaskModel", Settings),
    "token-classification": Implementation("runtime.triton.text_tasks", "TextTaskModel", Settings),
    "fill-mask": Implementation("runtime.triton.text_tasks", "TextTaskModel", Settings),
    "question-answering": Implementation("runtime.triton.text_tasks", "TextTaskModel", Settings),
    "zero-shot-classification": Implementation("runtime.triton.text_tasks", "TextTaskModel", Settings),
    "feature-extraction": Implementation("runtime.triton.embeddings", "FeatureModel", Settings),
    "sentence-similarity": Implementation("runtime.triton.embeddings", "SentenceModel", SentenceSettings),
    "text-generation": Implementation("runtime.triton.generation", "GenerationModel", GenerationSettings),
    "image-to-text": Implementation("runtime.triton.captions", "CaptionModel", ImageSettings),
    "image-classification": Implementation("runtime.triton.images", "ImageTaskModel", ImageSettings),
    "object-detection": Implementation("runtime.triton.images", "ImageTaskModel", ImageSettings),
}


class ServedTask(Protocol):
    """What each implementation offers to `TritonPythonModel`."""

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Answer a batch of requests; `None` when the answers are sent later (decoupled models)."""

    def close(self) -> None:
        """Give back memory and threads."""


class TritonPythonModel:
    """Loads the bundle of its version directory and answers requests by the bundle's task."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model and run it once, so that READY means that it answers.

        `args` are Triton's: `model_repository` (this model's directory), `model_version`, `model_config` (JSON).
        Raises `TritonModelException` with one line for a person.
        """
        import triton_python_backend_utils as pb_utils

        try:
            directory = Path(args["model_repository"]) / args["model_version"]
            self._model = load(directory, json.loads(args["model_config"]))
            self._metrics = publish(self._model, {"model": args["model_name"], "version": args["model_version"]})
            # What is there now stays: the collector need not walk through it again between requests.
            gc.collect()
            gc.freeze()
        except OnwardError as error:
            raise pb_utils.TritonModelException(str(error)) from error

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Answer each request by itself: a request that fails has its own error and no effect on the others."""
        return self._model.execute(requests)

    def finalize(self) -> None:
        """Called when the model is unloaded; not called if `initialize` failed."""
        if self._metrics is not None:
            self._metrics.close()
        self._model.close()


def publish(model: ServedTask, labels: dict[str, str]) -> Any:
    """What puts the model's statistics on the metrics port; None for a model without an engine of its own."""
    statistics = getattr(model, "statistics", None)
    if statistics is None:
        return None
    from runtime.triton.metrics import Publisher

    return Publisher(statistics, labels)


def load(directory: Path, config: dict[str, Any]) -> ServedTask:
    """The implementation for the bundle in `directory`, warmed up. Raises `OnwardError`."""
    from runtime import pipeline
    from runtime.bundle import MANIFEST_FILE, read_manifest

    task = read_manifest(directory / MANIFEST_FILE).task
    if task not in IMPLEMENTATIONS:
        raise BundleError(f"task {task!r} is not served under Triton yet; these are: {', '.join(IMPLEMENTATIONS)}")
    implementation = IMPLEMENTATIONS[task]
    settings = read_settings(config, implementation.settings)
    if settings.task and settings.task != task:
        raise BundleError(f"config.pbtxt says task {settings.task!r}, the bundle is for {task!r}: export again")
    pipe = pipeline(task, directory, **settings.pipeline_options())
    served: ServedTask = getattr(import_module(implementation.module), implementation.name)(pipe, settings)
    return served
