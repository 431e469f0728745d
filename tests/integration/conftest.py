"""Random one- and two-layer checkpoints for what needs no trained weights, and the command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.command import Onward, make_onward


@pytest.fixture
def onward(capsys: pytest.CaptureFixture[str]) -> Onward:
    return make_onward(capsys)


@pytest.fixture(scope="session")
def small_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer with three labels: the checkpoint that exports fastest."""
    from tests.checkpoints.builders import tiny_classifier

    return tiny_classifier("bert", tmp_path_factory.mktemp("checkpoints") / "small-bert", num_hidden_layers=1)


@pytest.fixture(scope="session")
def small_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers, grouped heads, untied embeddings."""
    from tests.checkpoints.builders import tiny

    return tiny("llama", tmp_path_factory.mktemp("checkpoints") / "small-llama")


@pytest.fixture
def lm(causal_lm_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the exported causal LM, to damage."""
    return Path(shutil.copytree(causal_lm_bundle, tmp_path / "lm"))


@pytest.fixture
def classifier(classifier_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the exported classifier, to damage."""
    return Path(shutil.copytree(classifier_bundle, tmp_path / "classifier"))


@pytest.fixture
def checkpoint(small_classifier: Path, tmp_path: Path) -> Path:
    """A copy of the small classifier's checkpoint, to damage."""
    return Path(shutil.copytree(small_classifier, tmp_path / "checkpoint"))
