"""The `onward` command as a user meets it: in this process where that is enough, in one of its own where it is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.cli import cli, run_command

ONWARD = [sys.executable, "-m", "runtime"]
EXPORTER = [sys.executable, "-m", "exporter"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Onward = Callable[..., Outcome]


def make_onward(capsys: pytest.CaptureFixture[str]) -> Onward:
    """`onward("run", bundle, "text")`: in this process; an exception that the command lets through fails the test."""

    def run(*arguments: Any) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command(cli, args=[str(argument) for argument in arguments], prog_name="onward")
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Outcome(code or 0, *capsys.readouterr())

    return run


def process(command: list[str], *arguments: Any, stdin: bytes = b"", **options: Any) -> Outcome:
    """The same in a process of its own."""
    line = [*command, *map(str, arguments)]
    done = subprocess.run(line, input=stdin, capture_output=True, timeout=240, **options)
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def assert_refused(outcome: Outcome, *words: str, code: int = 1) -> None:
    """Exit code `code`, and but for stages that went well one line, which starts with "error:" and holds `words`."""
    lines = [line for line in outcome.err.splitlines() if not line.startswith("✓")]
    assert outcome.code == code, outcome
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error: "), outcome.err
    for word in words:
        assert word in lines[0]


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Everything below `root`, hidden things too: path -> (size, time of the last change); directories (0, 0)."""
    stats = {path: path.lstat() for path in root.rglob("*")}
    return {
        str(path.relative_to(root)): (0, 0) if path.is_dir() else (stat.st_size, stat.st_mtime_ns)
        for path, stat in stats.items()
    }
