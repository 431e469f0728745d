"""What all tests share: the trained checkpoints, and one export of each."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.text_bundles import text_bundles

__all__ = ["text_bundles"]

# The same examples in every run, and no verdict that depends on how busy the machine is.
settings.register_profile("onward", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("onward")

# Tests never reach for the hub; those of the download code name a server of their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Background jobs and nohup ignore signals, and processes that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

CHECKPOINTS = Path(__file__).parent / "checkpoints"
CAUSAL_LM = "gpt2-docs"
CLASSIFIER = "sentiment"


def pytest_configure(config: pytest.Config) -> None:
    """Several workers share the cores instead of each starting as many threads as there are."""
    worker = getattr(config, "workerinput", None)
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        os.sched_setaffinity(0, cores[number % len(cores) :: count] or cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file is one worker's, and all files that ask the same servers are the same worker's."""
    for item in items:
        folder, file = item.path.parent.name, item.path.name
        item.add_marker(pytest.mark.xdist_group(folder if folder == "triton" else f"{folder}/{file}"))


@pytest.fixture(scope="session")
def causal_lm_checkpoint() -> Path:
    """A GPT-2 trained on the Python documentation."""
    return CHECKPOINTS / "tiny-gpt2-python-docs"


@pytest.fixture(scope="session")
def classifier_checkpoint() -> Path:
    """A BERT trained on sentiment."""
    return CHECKPOINTS / "tiny-bert-sentiment"


@pytest.fixture(scope="session")
def exported_repository(
    tmp_path_factory: pytest.TempPathFactory, causal_lm_checkpoint: Path, classifier_checkpoint: Path
) -> Path:
    """A model repository with both checkpoints, exported in fp32 and validated. Tests must not change it."""
    from exporter import export

    repository = tmp_path_factory.mktemp("model_repository")
    export(causal_lm_checkpoint, task="text-generation", output=repository, name=CAUSAL_LM)
    export(classifier_checkpoint, task="text-classification", output=repository, name=CLASSIFIER)
    return repository


@pytest.fixture(scope="session")
def causal_lm_bundle(exported_repository: Path) -> Path:
    """The exported causal LM."""
    return exported_repository / CAUSAL_LM


@pytest.fixture(scope="session")
def classifier_bundle(exported_repository: Path) -> Path:
    """The exported classifier."""
    return exported_repository / CLASSIFIER


@pytest.fixture(scope="session")
def shapes_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with the two trained vision checkpoints: "classifier" and "detector". Not to be changed."""
    from exporter import export

    repository = tmp_path_factory.mktemp("shapes_repository")
    export(CHECKPOINTS / "tiny-resnet-shapes", output=repository, name="classifier")
    export(CHECKPOINTS / "tiny-detr-shapes", output=repository, name="detector")
    return repository
