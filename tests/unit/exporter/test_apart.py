"""The process that torch works in: what comes back from it when it does not get to its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from exporter import apart
from exporter.options import ExportOptions
from exporter.stages import Stages
from runtime.errors import ExportError, InputError, OnwardError


def no_staging(name: str, bytes_needed: int) -> Path:
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("script", "said"), [("kill -9 $$", "killed by signal 9, most likely"), ("exit 3", "ended with exit code 3")]
)
def test_a_worker_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ExportError, match=said):
        apart.make_apart(ExportOptions("nowhere"), ["fp32"], Stages(), no_staging)


def test_an_error_arrives_as_it_was_raised(tmp_path: Path) -> None:
    """In a process of its own, with the stage that it happened in."""
    seen: list[str] = []

    class Watcher:
        def begin(self, name: str) -> None:
            seen.append(name)

        def end(self, name: str, seconds: float) -> None:
            raise AssertionError(name)

    options = ExportOptions(str(tmp_path / "missing"), output=tmp_path / "repository")
    with pytest.raises(OnwardError, match="missing"):
        apart.make_apart(options, ["fp32"], Stages(Watcher()), no_staging)
    assert seen == ["find"]


class Odd(OnwardError):
    """Cannot be made again from its message."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (InputError("bad"), InputError, "bad"),
        (OSError(28, "No space"), OSError, "No space"),
        (Odd("a", "b"), OnwardError, "a b"),
        (ImportError("no peft", name="peft"), OnwardError, "exporting needs peft"),
        (MemoryError(), MemoryError, ""),
    ],
)
def test_errors_that_travel(error: Exception, kind: type[Exception], said: str) -> None:
    found = apart.portable(error)
    assert type(found) is kind
    assert said in str(found)


def test_a_fault_brings_its_traceback() -> None:
    try:
        raise KeyError("fault")
    except KeyError as error:
        found = apart.portable(error)
    assert "test_a_fault_brings_its_traceback" in found.__notes__[0]
