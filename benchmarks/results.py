"""RESULTS.md: one section a part, replaced when that part is measured again."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = """# Results of `make bench`

Absolute times hold for their own run: compare the ratios. Each part says when it ran.
"""


def write_section(part: str, lines: list[str], path: Path = RESULTS) -> None:
    """Replace what `part` said before, or add it at the end."""
    text = path.read_text() if path.is_file() else HEAD
    begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    body = "\n".join([begin, "", f"## {part}", "", circumstances(), "", *lines, "", end])
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    found = pattern.search(text)
    text = text[: found.start()] + body + text[found.end() :] if found else f"{text.rstrip()}\n\n{body}\n"
    path.write_text(text)


def circumstances() -> str:
    """When and where, and how busy the machine was with other things before."""
    from runtime.session import available_threads

    return f"Measured {datetime.now(UTC):%Y-%m-%d}, {available_threads()} cores, load average {os.getloadavg()[0]:.1f}."
