"""Finds a tritonserver and says how to start it: on PATH (NVIDIA's images), else inside the `nvidia-pytriton` wheel."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from runtime.triton.errors import ServerError
from runtime.triton.interpreter import Interpreter, inspect

WHEEL = "nvidia-pytriton==0.7.0"
# The first release whose Python backend reads the buffers of numpy 2 correctly; older ones hand out wrong values.
_NUMPY_2_RELEASE = (24, 11)
_WHEEL_WITH_OLD_BACKEND = "0.7.0"


@dataclass(frozen=True)
class Installation:
    """A program to run, with the arguments and environment that its place on this machine calls for."""

    program: Path
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def find_server(python: str | Path = sys.executable) -> Path:
    """The tritonserver program that would run models in the environment of `python`.

    Raises `ServerError` when there is none, or when its Python backend would hand wrong values to that environment's
    numpy.
    """
    return _locate(inspect(python), python)


def find_installation(python: str | Path, scratch: Path) -> Installation:
    """How to start the server that `find_server` finds.

    `scratch` is an empty directory that has to live as long as the server does. Raises `ServerError`.
    """
    interpreter = inspect(python)
    program = _locate(interpreter, python)
    if interpreter.pytriton and program.is_relative_to(interpreter.pytriton):
        return _wheel(interpreter, program, python, scratch)
    return Installation(program, environment=_python_first(python))


def _locate(interpreter: Interpreter, python: str | Path) -> Path:
    on_path = shutil.which("tritonserver")
    if on_path:
        refuse_numpy_2(interpreter, release=os.environ.get("NVIDIA_TRITON_SERVER_VERSION", ""))
        return Path(on_path)
    if interpreter.pytriton:
        if interpreter.pytriton_version == _WHEEL_WITH_OLD_BACKEND:
            refuse_numpy_2(interpreter, release="24.10")
        return Path(interpreter.pytriton) / "tritonserver" / "bin" / "tritonserver"
    raise ServerError(
        f"no tritonserver: neither on PATH nor in the environment of {python} (pip install --no-deps {WHEEL} "
        f"'numpy<2' puts it there); or serve from the image: {docker_command()}"
    )


def docker_command(repository: str = "$PWD/model_repository") -> str:
    """The command that serves `repository` from the image that docker/Dockerfile makes."""
    return (
        "docker build -t onward-triton -f docker/Dockerfile . && docker run --rm --gpus all --shm-size 1g "
        f"-p 8000:8000 -p 8001:8001 -v {repository}:/models:ro onward-triton"
    )


def refuse_numpy_2(interpreter: Interpreter, release: str) -> None:
    """Raise `ServerError` if `release` ("24.10"; "" for unknown, taken as new) would misread the arrays of numpy 2."""
    if interpreter.numpy is None or int(interpreter.numpy.split(".")[0]) < 2 or not release:
        return
    if tuple(int(part) for part in release.split(".")[:2]) < _NUMPY_2_RELEASE:
        raise ServerError(
            f"Triton {release} silently reads wrong values from numpy {interpreter.numpy}: "
            "install numpy<2 in the environment that serves, or use Triton 24.11 or newer"
        )


def _wheel(interpreter: Interpreter, program: Path, python: str | Path, scratch: Path) -> Installation:
    """The server inside the wheel: its Python backend finds its stub only in a directory arranged like an install."""
    server = program.parents[1]
    backends = _arrange_backends(server, interpreter.version, scratch)
    libraries = scratch / "lib"
    libraries.mkdir()
    # Only libpython is exposed: the rest of its directory must not shadow the libraries that the wheel brings.
    shared = interpreter.shared_library()
    (libraries / shared.name).symlink_to(shared)
    path = os.pathsep.join(filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH", "")]))
    return Installation(
        program,
        [f"--backend-directory={backends}", f"--cache-directory={server / 'caches'}"],
        {**_python_first(python), "LD_LIBRARY_PATH": path},
    )


def _arrange_backends(server: Path, python_version: str, scratch: Path) -> Path:
    """`<scratch>/pytriton/tritonserver/backends/python`: the depth at which the libraries' relative rpath resolves."""
    stub = server / "python_backend_stubs" / python_version / "triton_python_backend_stub"
    if not stub.is_file():
        raise ServerError(
            f"the nvidia-pytriton wheel has no stub for Python {python_version}: {stub.parent} is missing"
        )
    backends = scratch / "pytriton" / "tritonserver" / "backends"
    (backends / "python").mkdir(parents=True)
    (scratch / "nvidia_pytriton.libs").symlink_to(server.parents[1] / "nvidia_pytriton.libs")
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (backends / "python" / name).symlink_to(server / "backends" / "python" / name)
    shutil.copy(stub, backends / "python")
    (backends / "python" / stub.name).chmod(0o755)
    return backends


def _python_first(python: str | Path) -> dict[str, str]:
    """The embedded interpreter takes its site-packages from the first `python3` on PATH; PYTHONPATH is not read."""
    # Not resolved: the directory of a virtual environment's link is what tells which environment it is.
    directory = Path(shutil.which(str(python)) or python).absolute().parent
    return {"PATH": os.pathsep.join([str(directory), os.environ.get("PATH", os.defpath)])}
