"""Peak memory by stage of an export, as the kernel counts it (Linux: VmHWM, set back at the start of every stage)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): sets VmHWM to what is resident now


@dataclass
class PeakWatcher:
    """Watches `exporter.stages.Stages`; peaks: MiB by stage, the largest of several of one name."""

    peaks: dict[str, float] = field(default_factory=dict)

    def begin(self, name: str) -> None:
        """A stage begins."""
        CLEAR.write_text(RESET_PEAK)

    def end(self, name: str, seconds: float) -> None:
        """A stage has ended."""
        status = memory()
        self.peaks[name] = max(self.peaks.get(name, 0.0), status["VmHWM"])


def memory() -> dict[str, float]:
    """MiB of this process: VmHWM (peak), VmRSS, RssAnon (its own), RssFile (mapped files)."""
    fields = (line.split() for line in STATUS.read_text().splitlines())
    return {parts[0].rstrip(":"): int(parts[1]) / 1024 for parts in fields if len(parts) == 3 and parts[2] == "kB"}
