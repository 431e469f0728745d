"""Tiny checkpoints, built once a session; tests that damage one take a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.exporter import models


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    models.gpt2(root / "gpt2")
    models.bert(root / "bert")
    models.bert(root / "bert-mlm", "masked-lm")
    models.bert(root / "bert-base", "none")
    return root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Callable[..., Path]:
    """`copy("gpt2")`: a copy to damage; `copy("gpt2", path)` places it there."""

    def make(name: str, target: Path | None = None) -> Path:
        return Path(shutil.copytree(built / name, target or tmp_path / name, dirs_exist_ok=True))

    return make
