"""A real tritonserver on a repository that `export` has written."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.triton.server import TritonServer
from tests.triton.server_venv import server_python as make_server_venv


@pytest.fixture(scope="session")
def server_python() -> Path:
    """Interpreter of the environment without torch in which the server's models run."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the nvidia-pytriton wheel, and so its tritonserver, exists for Linux on x86-64 only")
    return make_server_venv()


@pytest.fixture(scope="session")
def server(exported_repository: Path, server_python: Path) -> Iterator[TritonServer]:
    """A server that is ready; one for all tests, so a test that breaks it breaks the tests after it."""
    with TritonServer() as running:
        running.start(exported_repository, python=server_python)
        running.wait_ready(timeout=120)
        yield running
        assert running.running(), f"the server died:\n{running.log()}"


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
