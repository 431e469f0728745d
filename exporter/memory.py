"""Gives memory back: an export holds a model, then a trace, then a session, and only the largest should count."""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SMAPS = Path("/proc/self/smaps")  # Linux alone has it
SMALL = 2**20  # bytes: mappings below are not worth a call


def release() -> None:
    """Collect what only cycles keep alive, and hand free pages back to the system (glibc alone keeps them)."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    drop_pages()


def drop_pages() -> None:
    """Let go of the pages of mapped files: weights and libraries that are read again come from the system's cache.

    Pages that were written to exist nowhere else and are kept: every mapping that has one, and every one that somebody
    could write to meanwhile, but for weights, which nobody does.
    """
    if not SMAPS.exists() or not hasattr(mmap, "MADV_DONTNEED"):
        return
    advise = ctypes.CDLL(None).madvise
    for start, end in clean_mappings(SMAPS.read_text()):
        advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def clean_mappings(smaps: str) -> Iterator[tuple[int, int]]:
    """Addresses (start, end) of the mappings of files that `drop_pages` may let go of, from the text of smaps: proc(5).

    A mapping begins with a line `start-end mode offset device inode path`, lines of `Name: value` follow it.
    """
    found: tuple[int, int] | None = None
    for line in smaps.splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            found = mapping(name, rest)
        elif found is not None and (
            (name == "Rss:" and not kilobytes(rest)) or (name == "Anonymous:" and kilobytes(rest))
        ):
            found = None
        elif found is not None and name == "VmFlags:":
            yield found


def mapping(addresses: str, rest: str) -> tuple[int, int] | None:
    """A mapping of a file that is read alone, or of weights; None for others."""
    mode, _, _, inode, *path = rest.split(maxsplit=4)
    start, end = (int(address, 16) for address in addresses.split("-"))
    weights = bool(path) and path[0].endswith(".safetensors")
    return (start, end) if inode != "0" and end - start >= SMALL and ("w" not in mode or weights) else None


def kilobytes(value: str) -> int:
    """Of `      12 kB`."""
    return int(value.split()[0])


@contextmanager
def block_by_block(model: Any) -> Iterator[None]:
    """Forward passes of a torch model inside hold the mapped weights of one of its blocks at a time."""
    import torch

    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    inner = {module for one in lists for module in one.modules() if module is not one}
    blocks = [block for one in lists if one not in inner for block in one]
    handles = [block.register_forward_hook(lambda *_: drop_pages()) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
