"""What an export can be told about Triton: which versions are served, and for which release a raw graph has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from runtime.errors import ExportError


class Release(NamedTuple):
    """The ONNX Runtime that a release's own backend is built with, and the newest opset and IR that it is known to
    take. Releases from 25.08 on take newer opsets too; nothing that we write needs them."""

    onnxruntime: str
    opset: int
    ir: int


# Versions: the backend's build in each release (https://github.com/triton-inference-server/onnxruntime_backend tags);
# opsets: https://onnxruntime.ai/docs/reference/compatibility.html
RELEASES = {
    "24.10": Release("1.19.2", 21, 10),
    "25.03": Release("1.21.0", 22, 10),
    "25.08": Release("1.23.0", 23, 10),
    "25.12": Release("1.23.2", 23, 10),
    "26.06": Release("1.24.4", 23, 10),
    "26.07": Release("1.27.0", 23, 10),
    "26.08": Release("1.28.0", 23, 10),
}
NEWEST = "26.08"


@dataclass(frozen=True)
class TritonOptions:
    """version_policy: see `exporter.triton_config.version_policy`. graph_model: whether `<name>_graph` is written.
    release: of the Triton that will load it."""

    version_policy: str | None = None
    graph_model: bool = False
    release: str | None = None

    def check(self, opset: int) -> None:
        """Raise `ExportError` for what cannot be, before anything is loaded."""
        if self.version_policy is not None:
            from exporter.triton_config import version_policy

            version_policy(self.version_policy)
        if self.release is not None and not self.graph_model:
            raise ExportError("--triton-release is about the graph that --with-graph-model writes: pass both")
        if self.graph_model:
            release = find_release(self.release)
            if opset > release.opset:
                raise ExportError(
                    f"Triton {self.release or NEWEST} has ONNX Runtime {release.onnxruntime}, which takes opset up to "
                    f"{release.opset}: pass --opset {release.opset} or less"
                )


def find_release(name: str | None) -> Release:
    """The newest known release that is not newer than `name` ("25.05"). Raises `ExportError`."""
    wanted = release_key(name or NEWEST)
    found = [known for known in RELEASES if release_key(known) <= wanted]
    if not found:
        raise ExportError(f"Triton {name} is older than {min(RELEASES)}, the oldest that is known here")
    return RELEASES[max(found)]


def release_key(name: str) -> tuple[int, int]:
    """ "25.08" as numbers. Raises `ExportError`."""
    year, dot, month = name.partition(".")
    if not (dot and year.isdecimal() and month.isdecimal() and 1 <= int(month) <= 12):
        raise ExportError(f"{name!r} is no Triton release: they are called like {NEWEST}")
    return int(year), int(month)
