"""Pages of 2 MiB for weights: decoding reads all of them once a token, and finding each page is part of that time.

ONNX Runtime packs weights into memory of 4 KiB pages, and most Linux distributions give larger ones only to who asks
(`madvise` in /sys/kernel/mm/transparent_hugepage/enabled). `MADV_COLLAPSE` (Linux 6.1, madvise(2)) moves memory that
is already in use; what it may not move stays as it is, so that older kernels and other systems lose nothing.
"""

from __future__ import annotations

import ctypes
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = 2 << 20
MADV_COLLAPSE = 25
SMAPS = Path("/proc/self/smaps")
HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw.p 00000000 00:00 0 *(\[heap\])?$")
# Memory that was reserved and not yet written stays without pages.
RESIDENT = 0.9
# Smaller regions hold no weights that matter.
SMALLEST = 8 << 20


class Region(NamedTuple):
    """Private anonymous memory, in bytes. huge: how much of it lies in large pages."""

    begin: int
    end: int
    resident: int
    huge: int

    @property
    def size(self) -> int:
        """Bytes of the addresses."""
        return self.end - self.begin


def collapse_in_background() -> threading.Thread | None:
    """Give large pages to what this process holds now, while it goes on; None where there is no such thing."""
    if sys.platform != "linux" or not SMAPS.is_file():
        return None
    thread = threading.Thread(target=collapse, name="huge-pages", daemon=True)
    thread.start()
    return thread


def collapse() -> int:
    """Move all memory that is in use into large pages; returns how many bytes were moved."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    moved = 0
    for region in regions(SMAPS.read_text()):
        begin, end = -(-region.begin // PAGE) * PAGE, region.end // PAGE * PAGE
        full = region.resident >= RESIDENT * region.size and region.huge < RESIDENT * region.size
        if full and region.size >= SMALLEST and madvise(begin, end - begin, MADV_COLLAPSE) == 0:
            moved += end - begin
    return moved


def regions(smaps: str) -> Iterator[Region]:
    """The private anonymous regions of a process, from /proc/PID/smaps (proc(5))."""
    for block in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", smaps):
        head, _, body = block.partition("\n")
        found = HEADER.match(head.rstrip())
        if found:
            fields = dict(re.findall(r"^(\w+): +(\d+) kB$", body, re.MULTILINE))
            kib = [int(fields.get(name, 0)) * 1024 for name in ("Rss", "AnonHugePages")]
            yield Region(int(found[1], 16), int(found[2], 16), *kib)
