"""RESULTS.md: one section a part, and in it one case a heading; what is measured again replaces what it said before."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = """# Results of `make bench`

Absolute times hold for their own run: compare the ratios. Each table says when it ran.
"""
CASE = "### "
WITHOUT = ", without AVX-512"


def write_section(part: str, lines: list[str], path: Path = RESULTS) -> None:
    """Replace what `part` said before, or add it at the end; cases that `lines` do not have stay as they are."""
    text = path.read_text() if path.is_file() else HEAD
    begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    found = re.search(re.escape(begin) + "(.*?)" + re.escape(end), text, re.DOTALL)
    kept = cases(found[1].splitlines()) if found else {}
    body = "\n".join([begin, "", f"## {part}", "", *merged(kept, cases(lines)), end])
    text = text[: found.start()] + body + text[found.end() :] if found else f"{text.rstrip()}\n\n{body}\n"
    path.write_text(text)


def cases(lines: Iterable[str]) -> dict[str, list[str]]:
    """The lines below each heading of a case; those before the first heading under ""."""
    found: dict[str, list[str]] = {"": []}
    title = ""
    for line in lines:
        if line.startswith(CASE):
            title = line
            found[title] = []
        else:
            found[title].append(line)
    return {title: body for title, body in found.items() if title or any(body)}


def merged(old: dict[str, list[str]], new: dict[str, list[str]]) -> list[str]:
    """The text of a section: new cases with when they were measured, old ones where nothing new is said of them."""
    new = {titled(title): body for title, body in new.items()}
    fresh = {title: [*([title, ""] if title else []), circumstances(), "", *prose(body)] for title, body in new.items()}
    stale = {title: [title, *body] for title, body in old.items() if title}
    parts = {**stale, **fresh}
    return [line for title in sorted(parts) for line in [*_trim(parts[title]), ""]]


def titled(title: str) -> str:
    """A heading that says so where the CPU lacks AVX-512: what is measured there stands beside the other figures."""
    from runtime.session import cpu_flags

    return title if not title or "avx512f" in cpu_flags() else f"{title}{WITHOUT}"


def prose(lines: list[str]) -> list[str]:
    """Without empty lines at the beginning; what is no table is broken at 120 characters."""
    begin = next((place for place, line in enumerate(lines) if line), 0)
    return [part for line in lines[begin:] for part in ([line] if line.startswith("|") else wrap(line, 120) or [""])]


def _trim(lines: list[str]) -> list[str]:
    """Without empty lines at the end."""
    return lines if not lines or lines[-1] else _trim(lines[:-1])


def circumstances() -> str:
    """When and where, and how busy the machine was with other things before."""
    from runtime.session import available_threads

    return f"Measured {datetime.now(UTC):%Y-%m-%d}, {available_threads()} cores, load average {os.getloadavg()[0]:.1f}."
