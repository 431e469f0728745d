"""Gives memory back: an export holds a model, then a trace, then a session, and only the largest should count."""

from __future__ import annotations

import ctypes
import gc
import sys


def release() -> None:
    """Collect what only cycles keep alive, and hand free pages back to the system (glibc alone keeps them)."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
