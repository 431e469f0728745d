"""Makes the virtual environments of the peers: `benchmarks/.venv-<peer>-<hash of its requirements>`."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
HOME = Path(__file__).parent.parent


class MissingPeerError(Exception):
    """A peer that cannot be installed here, with the reason."""


def interpreter(peer: str) -> str:
    """The Python of `peer`, a file name in `requirements/`. Raises `MissingPeerError` when pip cannot install it."""
    wanted = REQUIREMENTS / f"{peer}.txt"
    folder = HOME / f".venv-{peer}-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    if not (folder / ".installed").is_file():
        install(folder, wanted)
    return str(folder / "bin" / "python")


def install(folder: Path, wanted: Path) -> None:
    """Create `folder` with what `wanted` lists, less its `# without:` lines; nothing is left when that fails."""
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", "-r", str(wanted)], check=True, capture_output=True, text=True)
        for package in re.findall(r"^# without: (\S+)$", wanted.read_text(), re.MULTILINE):
            subprocess.run([*pip, "uninstall", "--quiet", "--yes", package], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = (error.stderr or "").strip().splitlines()
        raise MissingPeerError(f"{wanted.stem} does not install: {reason[-1] if reason else error}") from error
    (folder / ".installed").touch()
