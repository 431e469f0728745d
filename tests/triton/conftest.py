"""A real tritonserver on a repository that `export` has written."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.triton.server import TritonServer
from tests.conftest import CAUSAL_LM, CLASSIFIER
from tests.text_bundles import TEXT_CHECKPOINTS, TextBundles
from tests.triton.server_venv import server_python as make_server_venv
from tests.triton.zoo import CALLS, build_zoo


@pytest.fixture(scope="session")
def server_python() -> Path:
    """Interpreter of the environment without torch in which the server's models run."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the nvidia-pytriton wheel, and so its tritonserver, exists for Linux on x86-64 only")
    return make_server_venv()


@pytest.fixture(scope="session")
def server(exported_repository: Path, server_python: Path) -> Iterator[TritonServer]:
    """A server that is ready; one for all tests, so a test that breaks it breaks the tests after it."""
    yield from _ready(exported_repository, server_python, 120)


@pytest.fixture(scope="session")
def local_classifier(classifier_bundle: Path) -> Any:
    """The same bundle without Triton."""
    from runtime import pipeline

    return pipeline("text-classification", classifier_bundle)


@pytest.fixture(scope="session")
def local_generator(causal_lm_bundle: Path) -> Iterator[Any]:
    """The same bundle without Triton."""
    from runtime import pipeline

    pipe = pipeline("text-generation", causal_lm_bundle)
    yield pipe
    pipe.close()


@pytest.fixture(scope="session")
def zoo_repository(
    exported_repository: Path,
    shapes_repository: Path,
    text_bundles: TextBundles,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A repository with a tiny bundle of every task: links to the shared ones, and a few of its own."""
    folder = tmp_path_factory.mktemp("zoo")
    shared = [exported_repository / CAUSAL_LM, exported_repository / CLASSIFIER]
    shared += [shapes_repository / "classifier", shapes_repository / "detector"]
    asked = {model for model, _ in CALLS}
    shared += [text_bundles(name) for name in TEXT_CHECKPOINTS if name in asked]
    repository = folder / "repository"
    repository.mkdir()
    for name, bundle in {**{path.name: path for path in shared}, **build_zoo(folder)}.items():
        # Triton takes no link for a model directory, but one for a version.
        (repository / name).mkdir()
        (repository / name / "1").symlink_to(bundle / "1")
        shutil.copy(bundle / "config.pbtxt", repository / name)
    return repository


@pytest.fixture(scope="session")
def zoo(zoo_repository: Path, server_python: Path) -> Iterator[TritonServer]:
    """One server with all of them."""
    yield from _ready(zoo_repository, server_python, 300)


def _ready(repository: Path, python: Path, timeout: float) -> Iterator[TritonServer]:
    """A server that answers, and must still run when its tests have ended."""
    with TritonServer() as running:
        running.start(repository, python=python)
        running.wait_ready(timeout=timeout)
        yield running
        assert running.running(), f"the server died:\n{running.log()}"
