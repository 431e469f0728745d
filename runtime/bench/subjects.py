"""What is measured: bundles, and the source they are held against. Each runs in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle import open_bundle
from runtime.errors import InputError, OnwardError

BUNDLE_WORKER, SOURCE_WORKER = "runtime.bench.worker", "exporter.bench_source"


@dataclass(frozen=True)
class Settings:
    """tokens: of a text or prompt; new_tokens: that a generator writes; seconds: for each batch size and round."""

    batch_sizes: tuple[int, ...] = (1, 8)
    rounds: int = 3
    tokens: int = 64
    new_tokens: int = 32
    seconds: float = 2.0
    provider: str = "cpu"
    threads: int | None = None


@dataclass(frozen=True)
class Subject:
    """name: for people; worker: the module that measures it; size: bytes of graphs and weights, None until measured."""

    name: str
    path: str
    task: str
    precision: str
    worker: str = BUNDLE_WORKER
    size: int | None = None

    def request(self, settings: Settings) -> dict[str, Any]:
        """What the worker is told. started: now, for the time from the start of the process to its first answer."""
        return {
            "path": self.path,
            "task": self.task,
            "batch_sizes": list(settings.batch_sizes),
            "tokens": settings.tokens,
            "new_tokens": settings.new_tokens,
            "seconds": settings.seconds,
            "provider": settings.provider,
            "threads": settings.threads,
            "started": time.time(),
        }

    def measure(self, settings: Settings) -> dict[str, Any]:
        """One round in a fresh process. Raises `OnwardError` when it fails there."""
        command = [sys.executable, "-m", self.worker, json.dumps(self.request(settings))]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        lines = done.stdout.strip().splitlines()
        found: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        if "error" in found:
            raise OnwardError(str(found["error"]))
        if done.returncode or not found:
            reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise OnwardError(f"measuring {self.name} failed (exit code {done.returncode}): {reason[:300]}")
        return found


def bundle_subject(path: Path) -> Subject:
    """A bundle, its hashes checked."""
    bundle = open_bundle(path)
    manifest = bundle.manifest
    size = sum(file.stat().st_size for file in bundle.directory.glob("*.onnx*"))
    return Subject(manifest.name, str(path), manifest.task, manifest.precision, size=size)


def subjects(paths: list[Path], against: str | None) -> list[Subject]:
    """The source first where there is one. Raises `InputError` for bundles of different tasks."""
    bundles = [bundle_subject(path) for path in paths]
    other = next((one for one in bundles if one.task != bundles[0].task), None)
    if other is not None:
        raise InputError(
            f"{bundles[0].name} is for {bundles[0].task}, {other.name} for {other.task}: measure one task at a time"
        )
    named = distinct(bundles)
    if against is None:
        return named
    return [Subject("source, torch", against, bundles[0].task, "fp32", SOURCE_WORKER), *named]


def distinct(bundles: list[Subject]) -> list[Subject]:
    """With the path for a name where names are the same."""
    names = [one.name for one in bundles]
    return [
        one if names.count(one.name) == 1 else Subject(one.path, one.path, one.task, one.precision, size=one.size)
        for one in bundles
    ]
