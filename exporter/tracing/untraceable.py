"""What torch.export says of a model that it cannot trace, in one line for people."""

from __future__ import annotations

import io
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import torch

import exporter
from runtime.errors import ExportError, OnwardError

# Code of these is not the model's.
OURS = tuple(str(Path(str(package.__file__)).parent) for package in (torch, exporter))
LONGEST = 200


@contextmanager
def in_one_line(model: str) -> Iterator[None]:
    """Raises `ExportError` for whatever is raised inside; errors that are for people, or about memory, pass.

    torch prints the graph so far, which is thousands of lines, to the standard error: it is not shown.
    """
    try:
        with redirect_stderr(io.StringIO()):
            yield
    except (OnwardError, MemoryError, OSError, ImportError):
        raise
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            f"torch cannot trace {model}{place(error)}: {said[0][:LONGEST].rstrip('. ')}; "
            "this architecture needs a path of its own, please report it"
        ) from error


def place(error: Exception) -> str:
    """The innermost line of the model's own code: ` at modeling_x.py:12 ("if x:")`; "" where there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(OURS)]
    models = [frame for frame in frames if "modeling" in Path(frame.filename).name] or frames[1:]
    if not models:
        return ""
    return f' at {Path(models[-1].filename).name}:{models[-1].lineno} ("{(models[-1].line or "").strip()[:LONGEST]}")'
