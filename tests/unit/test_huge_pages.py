"""Memory in use moves into large pages, reserved memory stays without pages, and nothing changes its contents."""

from __future__ import annotations

import mmap
import sys

import numpy as np
import pytest

from runtime import huge_pages
from runtime.huge_pages import SMAPS, Region, collapse, collapse_in_background, regions

SIZE = 32 << 20
LISTING = """\
7f0000000000-7f0002000000 rw-p 00000000 00:00 0 
Size:              32768 kB
Rss:               32760 kB
AnonHugePages:      2048 kB
7f0004000000-7f0006000000 rw-p 00000000 fe:00 12345                      /lib/libm.so
Rss:               32768 kB
AnonHugePages:         0 kB
550000000000-550001000000 rw-p 00000000 00:00 0                          [heap]
Rss:                 512 kB
AnonHugePages:         0 kB
7f0008000000-7f000a000000 r--p 00000000 00:00 0 
Rss:               32768 kB
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="large pages are asked for on Linux only")


@pytest.fixture
def memory() -> np.ndarray:
    """Anonymous memory of ordinary pages, not yet written."""
    return np.frombuffer(mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)


def around(array: np.ndarray) -> Region:
    """The region in which an array lies."""
    address = array.ctypes.data
    return next(region for region in regions(SMAPS.read_text()) if region.begin <= address < region.end)


def test_private_anonymous_regions_are_found() -> None:
    assert list(regions(LISTING)) == [
        Region(0x7F0000000000, 0x7F0002000000, 32760 * 1024, 2048 * 1024),
        Region(0x550000000000, 0x550001000000, 512 * 1024, 0),
    ]


@linux
def test_memory_in_use_moves_and_keeps_its_contents(memory: np.ndarray) -> None:
    written = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
    memory[:] = written
    if not collapse():
        pytest.skip("this kernel moves no memory into large pages (MADV_COLLAPSE came with Linux 6.1)")
    assert around(memory).huge >= SIZE - 2 * huge_pages.PAGE
    assert np.array_equal(memory, written)


@linux
def test_reserved_memory_stays_without_pages(memory: np.ndarray) -> None:
    before = around(memory)
    collapse()
    assert around(memory).resident <= before.resident + huge_pages.PAGE


@linux
def test_refusal_by_the_kernel_is_no_error(memory: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    memory[:] = 1
    monkeypatch.setattr(huge_pages, "MADV_COLLAPSE", 9999)
    assert collapse() == 0
    assert (memory == 1).all()


def test_other_systems_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert collapse_in_background() is None
