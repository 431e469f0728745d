"""Peak memory by stage of an export, as the kernel counts it (Linux: VmHWM, set back at the start of every stage).

An export works in two processes. The peaks of all that are alive are added up: what they had at the same time, by
proportional set size, is less.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
RESET_PEAK = "5"  # proc(5): sets VmHWM to what is resident now


@dataclass
class PeakWatcher:
    """Watches `exporter.stages.Stages`; peaks: MiB by stage, the largest of several of one name."""

    peaks: dict[str, float] = field(default_factory=dict)

    def begin(self, name: str) -> None:
        """A stage begins."""
        for process in family(os.getpid()):
            (PROC / str(process) / "clear_refs").write_text(RESET_PEAK)

    def end(self, name: str, seconds: float) -> None:
        """A stage has ended."""
        total = sum(memory(process)["VmHWM"] for process in family(os.getpid()))
        self.peaks[name] = max(self.peaks.get(name, 0.0), total)


def family(process: int) -> Iterator[int]:
    """A process and those that it started, and so on, as far as they are alive."""
    yield process
    for children in (PROC / str(process) / "task").glob("*/children"):
        for child in children.read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                yield from family(int(child))


def memory(process: int | str = "self") -> dict[str, float]:
    """MiB of a process: VmHWM (peak), VmRSS, RssAnon (its own), RssFile (mapped files)."""
    fields = (line.split() for line in (PROC / str(process) / "status").read_text().splitlines())
    return {parts[0].rstrip(":"): int(parts[1]) / 1024 for parts in fields if len(parts) == 3 and parts[2] == "kB"}
