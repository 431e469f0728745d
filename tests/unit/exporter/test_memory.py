"""Pages that can be read again are let go of; what exists nowhere else is not."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from exporter.memory import clean_mappings, drop_pages

SIZE = 2**22


def entry(mode: str, path: str, rss: int = 4096, anonymous: int = 0, size: int = SIZE) -> str:
    """One mapping as proc(5) writes it."""
    inode = 0 if path.startswith("[") or not path else 77
    head = f"1000-{0x1000 + size:x} {mode} 00000000 fe:00 {inode}    {path}"
    return f"{head}\nSize: 4096 kB\nRss:     {rss} kB\nAnonymous:   {anonymous} kB\nVmFlags: rd mr me\n"


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        (entry("r-xp", "/usr/lib/libtorch.so"), True),
        (entry("r--p", "/a b/model.onnx.data"), True),
        (entry("r--p", "/usr/lib/libtorch.so", anonymous=4), False),  # relocated: exists nowhere else
        (entry("rw-p", "/usr/lib/libtorch.so"), False),  # somebody may be writing to it
        (entry("rw-p", "/models/model.safetensors"), True),
        (entry("rw-p", "/models/model.safetensors", anonymous=4), False),
        (entry("r--p", "/usr/lib/libtorch.so", rss=0), False),
        (entry("r--p", "/usr/lib/small.so", size=8192), False),
        (entry("rw-p", "[heap]"), False),
        (entry("rw-p", ""), False),
    ],
)
def test_which_mappings_are_clean(text: str, dropped: bool) -> None:
    other = entry("rw-p", "[stack]", anonymous=4)
    assert list(clean_mappings(other + text + other)) == ([(0x1000, 0x1000 + SIZE)] if dropped else [])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"abcd" * (SIZE // 4))
    with path.open("rb") as file:
        read = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)  # as torch maps weights: private, writable
        written = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)
    whole = read[:]
    written[SIZE // 2 : SIZE // 2 + 4] = b"mine"
    before = resident(path)
    drop_pages()
    after = resident(path)
    assert before[0] >= SIZE // 1024
    assert min(after) == 0  # the one that was only read
    assert max(after) > 0
    assert read[:] == whole
    assert written[SIZE // 2 : SIZE // 2 + 8] == b"mineabcd"


def resident(path: Path) -> list[int]:
    """kB in memory of each mapping of a file, largest first."""
    found, ours = [], False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            found.append(int(line.split()[1]))
    return sorted(found, reverse=True)
