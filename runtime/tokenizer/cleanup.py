"""HF's `clean_up_tokenization`: takes away the spaces that WordPiece decoding leaves before punctuation."""

from __future__ import annotations

# In this order, one after the other (transformers/tokenization_utils_base.py, `clean_up_tokenization`).
REPLACEMENTS = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)
# A character that no pattern contains: it is never changed, and nothing can match across it.
_TOUCHED = frozenset("".join(pattern for pattern, _ in REPLACEMENTS))


def clean_up_tokenization(text: str) -> str:
    """`text` without the spaces before punctuation and English contractions."""
    for pattern, replacement in REPLACEMENTS:
        text = text.replace(pattern, replacement)
    return text


class CleanUpStream:
    """The same on text that arrives in pieces: pieces joined equal the clean-up of the whole.

    Text is given out up to the last character that no pattern contains; what follows it could still change.
    """

    def __init__(self) -> None:
        self._pending = ""

    def push(self, text: str) -> str:
        """The cleaned text that became certain."""
        cut = next((i for i in range(len(text), 0, -1) if text[i - 1] not in _TOUCHED), 0)
        if not cut:
            self._pending += text
            return ""
        certain, self._pending = self._pending + text[:cut], text[cut:]
        return clean_up_tokenization(certain)

    def flush(self) -> str:
        """The rest, cleaned."""
        rest, self._pending = self._pending, ""
        return clean_up_tokenization(rest)
