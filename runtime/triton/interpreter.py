"""What a server must know of the Python environment in which it runs our models."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from runtime.triton.errors import ServerError

# Runs inside of the other interpreter, so it uses nothing but the standard library. `find_spec` does not import the
# package: pytriton's own imports need dependencies that a server does not.
_PROBE = """
import importlib.metadata as metadata, importlib.util, json, sys, sysconfig
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
spec = importlib.util.find_spec("pytriton")
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "library_directories": [sysconfig.get_config_var("LIBDIR") or "", sys.base_prefix + "/lib"],
    "pytriton": spec.submodule_search_locations[0] if spec else None,
    "pytriton_version": version("nvidia-pytriton"),
    "numpy": version("numpy"),
    "runtime": importlib.util.find_spec("runtime") is not None,
}))
"""


class Interpreter(msgspec.Struct, frozen=True):
    """A Python environment, seen from outside."""

    version: str  # "3.11"
    library_directories: list[str]
    pytriton: str | None
    pytriton_version: str | None
    numpy: str | None
    runtime: bool

    def shared_library(self) -> Path:
        """The shared libpython, which the server's stub process links to. Raises `ServerError` if there is none."""
        name = f"libpython{self.version}.so.1.0"
        for directory in self.library_directories:
            if directory and (Path(directory) / name).is_file():
                return Path(directory) / name
        raise ServerError(
            f"{name} is missing in {' and '.join(filter(None, self.library_directories))}; install it "
            f"(Debian: apt install libpython{self.version}) or use a Python built with --enable-shared"
        )


def inspect(python: str | Path) -> Interpreter:
    """Run `python` once and ask. Raises `ServerError` when it does not start or lacks our runtime."""
    try:
        probe = subprocess.run([str(python), "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True)
        found = msgspec.json.decode(probe.stdout, type=Interpreter)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        raise ServerError(f"{python} is not a Python that can be asked about its packages: {error}") from error
    if not found.runtime:
        raise ServerError(f"{python} cannot import `runtime`: the server's models run there, so install onward there")
    return found
