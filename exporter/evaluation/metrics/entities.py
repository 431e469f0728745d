"""F1 of whole entities: type and both ends must be right.

Spans are read from tags as conlleval does (Tjong Kim Sang and Buchholz 2000; seqeval's default mode): IOB1, IOB2 and
IOBES; an I- that continues nothing begins an entity of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[str, int, int]  # type, first word, last word


def spans(tags: Sequence[str]) -> set[Span]:
    """The entities of one text."""
    found: set[Span] = set()
    kind, start, before = "", 0, "O"
    for index, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-") if tag != "O" else ("O", "", "")
        if kind and (prefix in ("O", "B", "S") or before in ("E", "S") or name != kind):
            found.add((kind, start, index - 1))
            kind = ""
        if prefix != "O" and not kind:
            kind, start = name, index
        before = prefix
    return found


def entity_f1(found: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> float:
    """Micro-averaged over all texts, in per cent; 100 where there is nothing to find and nothing was found."""
    pairs = [(spans(a), spans(b)) for a, b in zip(found, gold, strict=True)]
    hits = sum(len(a & b) for a, b in pairs)
    total = sum(len(a) + len(b) for a, b in pairs)
    return 100 * 2 * hits / total if total else 100.0
