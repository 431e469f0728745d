"""The first half of an export in a process of its own.

torch, transformers and what a trace leaves behind take as much memory as a small model, and give none of it back. In a
process that ends before the bundle is run, they do not count while ONNX Runtime holds the weights. The two processes
talk over a pipe: stages as they begin and end, staging directories, which stay this process's, and at the end the work
or the error.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.options import ExportOptions
from exporter.stages import Stages
from runtime.errors import ExportError, OnwardError

if TYPE_CHECKING:
    from exporter.making import OpenStaging, Work


def worthwhile() -> bool:
    """Whether a second process saves memory: not where this one has loaded torch already."""
    return "torch" not in sys.modules and os.name == "posix"


def make_apart(options: ExportOptions, precisions: Sequence[str], stages: Stages, open_staging: OpenStaging) -> Work:
    """See `exporter.making.make`. Raises what it raises there; `ExportError` when the other process is killed."""
    here, there = Pipe()
    with here, worker(there) as process:
        try:
            here.send((options, list(precisions)))
            return attend(here, stages, open_staging)
        except (EOFError, ConnectionError):
            raise ExportError(ending(process.wait())) from None


@contextmanager
def worker(end: Connection) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does `work` on its end of a pipe; gone when this is left.

    In a process group of its own: a terminal's Ctrl-C is this process's to deal with. Its standard input is held open
    by this process alone, see `end_with_parent`.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; from exporter.apart import work; work({end.fileno()})"
    line = [sys.executable, "-c", code]
    with subprocess.Popen(line, stdin=subprocess.PIPE, pass_fds=[end.fileno()], process_group=0) as process:
        end.close()
        try:
            yield process
        finally:
            process.kill()


def attend(pipe: Connection, stages: Stages, open_staging: OpenStaging) -> Work:
    """Answer what the worker asks until it is done."""
    while True:
        what, *given = pipe.recv()
        if what == "made":
            made: Work = given[0]
            return made
        if what == "failed":
            raise given[0]
        pipe.send(answer(what, given, stages, open_staging))


def answer(what: str, given: list[Any], stages: Stages, open_staging: OpenStaging) -> Path | Exception | None:
    """To one message: a directory, or the error that the worker is to raise."""
    if what == "staging":
        try:
            return open_staging(*given)
        except Exception as error:
            return error
    if stages.watcher is not None:
        getattr(stages.watcher, what)(*given)
    return None


def ending(code: int) -> str:
    """Why there is no answer, for people."""
    if code < 0:
        return (
            f"the process that read the model was killed by signal {-code}, most likely because memory ran out: close "
            "other programs, or take a machine with more"
        )
    return f"the process that read the model ended with exit code {code}: see what it printed above"


# ---- the worker's side


class Remote:
    """A watcher of stages, and staging directories, at the other end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def ask(self, *message: Any) -> Any:
        """Send, and wait for the answer: stages end there before the next one begins here."""
        self.pipe.send(message)
        reply = self.pipe.recv()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def begin(self, name: str) -> None:
        """See `exporter.stages.Watcher`."""
        self.ask("begin", name)

    def end(self, name: str, seconds: float) -> None:
        """See `exporter.stages.Watcher`."""
        self.ask("end", name, seconds)

    def staging(self, name: str, bytes_needed: int) -> Path:
        """See `exporter.staging.Stagings.open`."""
        path: Path = self.ask("staging", name, bytes_needed)
        return path


def work(handle: int) -> None:
    """What the other process runs: make what is asked for on the pipe of this file descriptor."""
    end_with_parent()
    pipe = Connection(handle)
    options, precisions = pipe.recv()
    try:
        from exporter.making import make

        remote = Remote(pipe)
        pipe.send(("made", make(options, precisions, Stages(remote), remote.staging)))
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        pipe.send(("failed", portable(error)))


def end_with_parent() -> None:
    """End when the process that holds the other end of standard input is gone, whatever is under way."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def portable(error: Exception) -> Exception:
    """The error as it can be sent; with its traceback where it is no message for the user."""
    if isinstance(error, ImportError):
        return OnwardError(f"exporting needs {error.name}: {error}")
    if not isinstance(error, (OnwardError, MemoryError, OSError)):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    if type(copy) is type(error):
        return error
    return OnwardError(str(error)) if isinstance(error, OnwardError) else RuntimeError(traceback.format_exc())
