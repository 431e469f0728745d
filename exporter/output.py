"""Writes a bundle whole or not at all: into a hidden directory on the same file system, then renamed into place.

Triton takes every sub-directory of its repository for a model, dot directories too (core's `GetDirectorySubdirs` drops
only "." and ".."), so the hidden directory stands beside the repository. Where that is another file system or not
writable, it stands inside, and a Triton that polls just then logs one failed poll for it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exporter.signals import deferred_signals, raising_signals
from runtime.bundle import MANIFEST_FILE
from runtime.errors import OnwardError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
STAGING = re.compile(r"\.onward-(?P<host>[A-Za-z0-9_]*)-(?P<pid>\d+)-.+")
REPLACED = ".replaced"
FULL = (errno.ENOSPC, errno.EDQUOT)
# How Python, Rust (safetensors) and C++ (onnx) say ENOSPC when only the text of an error is left.
FULL_TEXT = "No space left on device"


def check_target(repository: Path, name: str, version: int = 1, force: bool = False) -> None:
    """Refuse before any long work what could not be written: `repository/name/version`.

    Raises `OnwardError` for a bad name or version, a version that exists (unless `force`; a directory that is no
    bundle is never replaced), and a repository that is a file or not writable.
    """
    if not NAME.fullmatch(name):
        raise OnwardError(f"{name!r} is no model name: use letters, digits, '_', '.', '-', with no '.' or '-' first")
    if version < 1:
        raise OnwardError(f"version {version} is no model version: Triton counts from 1")
    _check_writable(repository)
    model = repository / name
    if model.exists() and not model.is_dir():
        raise OnwardError(f"{model} is a file: remove it, or give another --name")
    _check_version(model, version, force)


def _check_version(model: Path, version: int, force: bool) -> None:
    target = model / str(version)
    if not target.exists():
        if model.is_dir() and any(model.iterdir()) and not (model / "config.pbtxt").is_file():
            raise OnwardError(f"{model} is there but is no model directory: remove it, or give another --name")
        return
    if not force:
        free = _next_version(model)
        raise OnwardError(f"{target} exists: pass --force to replace it, or --version {free} to add a version")
    if target.is_symlink() or not (target / MANIFEST_FILE).is_file():
        raise OnwardError(f"{target} is no onward bundle, --force will not replace it: remove it yourself")


def _next_version(model: Path) -> int:
    return 1 + max((int(p.name) for p in model.iterdir() if p.name.isdecimal()), default=0)


def _check_writable(repository: Path) -> None:
    existing = _existing(repository)
    if not existing.is_dir():
        raise OnwardError(f"{existing} is a file, no model repository: give a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OnwardError(f"{existing} is not writable: give another repository or change its permissions")


def check_space(directory: Path, bytes_needed: int) -> None:
    """Raise `OnwardError` unless the file system of `directory` (which need not exist yet) has that many bytes free."""
    place = _existing(directory)
    free = shutil.disk_usage(place).free
    if free < bytes_needed:
        raise OnwardError(
            f"the export needs {size(bytes_needed)} in {place}, {size(free)} are free: free "
            f"{size(bytes_needed - free)} more or give a repository on another disk"
        )


def size(count: int) -> str:
    """Bytes for people: 1.5 GB."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


@contextmanager
def staged_output(
    repository: Path, name: str, version: int = 1, force: bool = False, bytes_needed: int | None = None
) -> Iterator[Path]:
    """A fresh directory to write the model directory into: `config.pbtxt` and `<version>/` (which is made already).

    On leaving without an exception it becomes `repository/name`, or its contents go beside the versions that are
    there; other versions are kept. After any exception, Ctrl-C, SIGTERM or SIGHUP nothing of it is left. Raises what
    `check_target` and `check_space` raise, and `OnwardError` when the disk fills up.
    """
    clean_up(repository, name)
    check_target(repository, name, version, force)
    check_space(repository, bytes_needed or 0)
    with raising_signals():
        staging = _staging_directory(repository, name)
        try:
            # Plain mkdir, not mkdtemp: the server may run as another user, so the umask decides, not 0700.
            (staging / str(version)).mkdir(parents=True)
            yield staging
            with deferred_signals():
                _check_version(repository / name, version, force)
                _commit(staging, repository / name)
        except BaseException as error:
            written = _written(staging)
            _remove(staging)
            if is_full(error):
                raise _disk_full(repository, written, bytes_needed) from error
            raise


def _staging_directory(repository: Path, name: str) -> Path:
    """A free path beside the repository if a rename from there into it works, else in the repository itself."""
    leaf = f".onward-{_host()}-{os.getpid()}-{secrets.token_hex(4)}-{name}"
    if not repository.exists():
        return _existing(repository) / leaf
    with deferred_signals():
        beside = repository.resolve().parent
        return (beside if _renames(beside / f"{leaf}.probe", repository / f"{leaf}.probe") else repository) / leaf


def _renames(probe: Path, landed: Path) -> bool:
    # Bind mounts share st_dev and still refuse a rename, so try one, with a file: Triton looks at directories only.
    try:
        probe.touch()
        probe.rename(landed)
        landed.unlink()
    except OSError:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        return False
    return True


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", socket.gethostname())


def _existing(path: Path) -> Path:
    """`path` or its nearest ancestor that exists."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def _commit(staging: Path, target: Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.replace(target)
        return
    # Inside the model directory, where Triton passes over what is no number, and its place is known after a crash.
    replaced = target / f"{staging.name}{REPLACED}"
    replaced.mkdir()
    try:
        _swap(staging, target, replaced)
    finally:
        _remove(replaced)
    _remove(staging)


def _swap(staging: Path, target: Path, replaced: Path) -> None:
    """Move every entry of `staging` into `target`, what was there into `replaced`; undo all of it on an error."""
    done: list[Path] = []
    # The version directory first: a server that reads a new config.pbtxt finds the version it is about.
    entries = sorted(staging.iterdir(), key=lambda p: (not p.is_dir(), p.name))
    try:
        for entry in entries:
            done.append(entry)
            if (target / entry.name).exists():
                (target / entry.name).rename(replaced / entry.name)
            entry.rename(target / entry.name)
    except BaseException:
        for entry in reversed(done):
            if not entry.exists():
                (target / entry.name).rename(entry)
            if (replaced / entry.name).exists():
                (replaced / entry.name).rename(target / entry.name)
        raise


def clean_up(repository: Path, name: str) -> None:
    """Remove what processes of this host left that are gone (SIGKILL, power cut), and finish their undo.

    What such a process had moved aside in `_swap` and not replaced yet is put back.
    """
    model = repository / name
    for path in _left_behind(model):
        for entry in path.iterdir() if path.name.endswith(REPLACED) else ():
            if not (model / entry.name).exists():
                entry.rename(model / entry.name)
        _remove(path)
    for place in {repository.absolute().parent, repository.resolve().parent, _existing(repository)}:
        for path in _left_behind(place):
            _remove(path)


def _left_behind(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    named = [(path, STAGING.fullmatch(path.name)) for path in place.glob(".onward-*")]
    return [path for path, m in named if m and m["host"] == _host() and not _alive(int(m["pid"]))]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    with deferred_signals():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _written(directory: Path) -> int:
    with suppress(OSError):
        return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return 0


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in FULL) or FULL_TEXT in str(error):
            return not isinstance(error, OnwardError)
        error = error.__cause__ or error.__context__
    return False


def _disk_full(repository: Path, written: int, bytes_needed: int | None) -> OnwardError:
    place = _existing(repository)
    free = shutil.disk_usage(place).free
    needed = f"about {size(bytes_needed)}" if bytes_needed else f"more than {size(max(written, free))}"
    return OnwardError(
        f"the disk of {place} filled up after {size(written)}: the export needs {needed}, {size(free)} are free now; "
        "free some or give a repository on another disk"
    )
