"""Makes the server's virtual environment once per set of requirements: `python -m tests.triton.server_venv`.

It lies in `.venv-triton/<hash>/` of the checkout, holds the runtime's dependencies and the `nvidia-pytriton` wheel, but
no torch, transformers, optimum or onnx, and finds our packages through a .pth file.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from runtime.triton.installation import WHEEL

CHECKOUT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def server_python() -> Path:
    """The interpreter of the server's environment, which is made first if there is none for these requirements."""
    home = CHECKOUT / ".venv-triton"
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        venv = home / _key()
        if not (venv / "complete").exists():
            shutil.rmtree(venv, ignore_errors=True)
            _make(venv)
            (venv / "complete").touch()
    return venv / "bin" / "python"


def _key() -> str:
    text = f"{REQUIREMENTS.read_text()} {WHEEL} {sys.version} {CHECKOUT}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _make(venv: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
    # Without its dependencies: they are of its own Python API, which we do not use.
    subprocess.run([*pip, "--no-deps", WHEEL], check=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(venv)})
    (Path(packages) / "onward-checkout.pth").write_text(f"{CHECKOUT}\n")


if __name__ == "__main__":
    print(server_python())
