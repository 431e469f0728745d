"""Checkpoints at real sizes with random weights, built once, and what each engine makes of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.worker import run

CACHE = Path(__file__).parent / ".cache"


def checkpoint(name: str) -> str:
    """The folder of a checkpoint of `tests.checkpoints.builders.REAL`, built when it is not there."""
    from tests.checkpoints.builders import REAL

    folder = CACHE / name
    if not (folder / "config.json").is_file():
        REAL[name](folder)
    return str(folder)


def bundle(name: str, precision: str = "fp32") -> str:
    """Our bundle, exported anew once a process: exports change with the code."""
    made = CACHE / "bundles" / f"{name}-{precision}"
    if (name, precision) not in _exported:
        source = checkpoint(name)
        arguments = {"checkpoint": source, "output": str(CACHE / "bundles"), "precision": precision}
        run("benchmarks.prepare:export_to", **arguments, name=made.name)
        _exported.add((name, precision))
    return str(made)


def peer_model(peer: str, python: str, name: str, precision: str) -> str:
    """What a peer made of a checkpoint, kept from run to run. Raises `RuntimeError` when it cannot."""
    folder = CACHE / "peers" / f"{peer}-{name}-{precision}"
    if not (folder / ".done").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        arguments = {"checkpoint": checkpoint(name), "output": str(folder), "precision": precision}
        run(f"benchmarks.peers.{peer}:prepare", python=python, **arguments)
        (folder / ".done").touch()
    return str(folder)


_exported: set[tuple[str, str]] = set()
