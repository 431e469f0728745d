"""Incremental detokenisation: token ids come one by one, text goes out as soon as nothing can change it any more.

Every decoder is a function of the whole token list, so a stream must know how far one token reaches. Four kinds cover
the decoders of the tokenizers library; each costs the same per token however long the text has become.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from runtime.tokenizer.cleanup import CleanUpStream

if TYPE_CHECKING:
    import tokenizers

    from runtime.tokenizer.tokenizer import Tokenizer

_BYTE_TOKEN = re.compile("<0x[0-9A-Fa-f]{2}>")  # of byte fallback
_LOCAL = ("WordPiece", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip")


class DecodeStream:
    """Turns token ids into text while they are generated.

    `push(id)` returns the text that became certain (often ""), `flush()` the rest; all of it joined equals
    `tokenizer.decode(ids, skip_special_tokens=...)`. No UTF-8 character is ever split. Not for several threads.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool = False) -> None:
        self._tokenizer = tokenizer
        self._skipped = tokenizer.backend_special_tokens if skip_special_tokens else frozenset()
        self._text = tokenizer.streams.new()
        self._cleaned = CleanUpStream() if tokenizer.cleans_up_on_decode else None

    def push(self, token_id: int) -> str:
        """Take the next id; ids outside of the vocabulary are dropped, as `decode` does."""
        token = self._tokenizer.id_to_token(token_id)
        if token is None or token in self._skipped:
            return ""
        text = self._text.push(token)
        return self._cleaned.push(text) if self._cleaned else text

    def flush(self) -> str:
        """The text that was held back. Call it once, at the end."""
        text = self._text.flush()
        return self._cleaned.push(text) + self._cleaned.flush() if self._cleaned else text


class TextStream(Protocol):
    """Tokens in, text out."""

    def push(self, token: str) -> str:
        """The text that this token made certain."""

    def flush(self) -> str:
        """The rest."""


class StreamFactory:
    """Knows the kind of a tokenizer's decoder and makes streams for it. Safe to share between threads."""

    def __init__(self, backend: tokenizers.Tokenizer, word_suffix: str) -> None:
        """`word_suffix`: the manifest's `decode_word_suffix`."""
        self._decoder = backend.decoder
        self._word_suffix = word_suffix
        self._steps = _steps(self._decoder)
        self._pieces = _Pieces(backend) if self._is_local() else None

    def new(self) -> TextStream:
        """A stream at the beginning of a text."""
        if self._word_suffix:
            return _WholeStream(lambda tokens: self._decoder.decode(tokens).replace(self._word_suffix, " ").strip())
        if self._pieces is not None:
            return _LocalStream(self._pieces)
        kinds = [step["type"] for step in self._steps]
        if kinds == ["ByteLevel"]:
            return _ByteLevelStream()
        if kinds == ["BPEDecoder"]:
            return _SuffixStream(str(self._steps[0]["suffix"]))
        return _WholeStream(self._decoder.decode)

    def _is_local(self) -> bool:
        """Whether a token's text depends on nothing but whether it is the first (and on its run of byte tokens)."""
        kinds = [step["type"] for step in self._steps]
        if any(kind not in _LOCAL for kind in kinds):
            return False
        # Once fused, a step sees the whole text. Stripping its start is fine, anything else can reach anywhere.
        fused = self._steps[kinds.index("Fuse") + 1 :] if "Fuse" in kinds else []
        return all(step["type"] == "Strip" and step["stop"] == 0 for step in fused)


class _Pieces:
    """The text of a token in the middle of a sentence, read off the real decoder behind a fixed anchor token."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.decoder = backend.decoder
        self._anchor = _find_anchor(backend)
        self._offset = len(self.decode([self._anchor]))
        self._known: dict[str, str] = {}

    def decode(self, tokens: list[str]) -> str:
        """What the decoder makes of these tokens alone."""
        return self.decoder.decode(tokens) if self.decoder is not None else " ".join(tokens)

    def of(self, token: str) -> str:
        """The text of one token that is not the first."""
        if token not in self._known:
            self._known[token] = self.of_run([token])
        return self._known[token]

    def of_run(self, tokens: list[str]) -> str:
        """The text of several tokens that belong together."""
        return self.decode([self._anchor, *tokens])[self._offset :]


class _LocalStream:
    """WordPiece, Metaspace, SentencePiece BPE: tokens are independent, except the first and runs of byte tokens.

    A run of byte tokens is valid UTF-8 as a whole or not at all, so it is held until another token ends it.
    """

    def __init__(self, pieces: _Pieces) -> None:
        self._pieces = pieces
        self._head: list[str] | None = []  # the tokens so far, until they give text: the decoder may strip its start
        self._run: list[str] = []

    def push(self, token: str) -> str:
        if _BYTE_TOKEN.fullmatch(token):
            (self._run if self._head is None else self._head).append(token)
            return ""
        if self._head is not None:
            self._head.append(token)
            return self._start()
        return self._end_run() + self._pieces.of(token)

    def flush(self) -> str:
        return self._start() if self._head is not None else self._end_run()

    def _start(self) -> str:
        text = self._pieces.decode(self._head) if self._head else ""
        self._head = None if text else self._head
        return text

    def _end_run(self) -> str:
        run, self._run = self._run, []
        return self._pieces.of_run(run) if run else ""


class _ByteLevelStream:
    """Byte-level BPE: tokens spell bytes, the text is their UTF-8 with U+FFFD for what is invalid."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: str) -> str:
        return self._utf8.decode(_token_bytes(token))

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)


class _SuffixStream:
    """`BPEDecoder`: the end-of-word suffix is a space, except on the last token."""

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix
        self._last = ""

    def push(self, token: str) -> str:
        last, self._last = self._last, token
        return last.replace(self._suffix, " ")

    def flush(self) -> str:
        last, self._last = self._last, ""
        return last.replace(self._suffix, "")


class _WholeStream:
    """Any other decoder (CTC, custom sequences): a later token may change any text, so all of it comes at the end."""

    def __init__(self, decode: Callable[[list[str]], str]) -> None:
        self._decode = decode
        self._tokens: list[str] = []

    def push(self, token: str) -> str:
        self._tokens.append(token)
        return ""

    def flush(self) -> str:
        tokens, self._tokens = self._tokens, []
        return self._decode(tokens) if tokens else ""


def _steps(decoder: Any) -> list[dict[str, Any]]:
    return _flatten(json.loads(decoder.__getstate__())) if decoder is not None else []


def _flatten(config: dict[str, Any]) -> list[dict[str, Any]]:
    if config["type"] != "Sequence":
        return [config]
    return [step for part in config["decoders"] for step in _flatten(part)]


def _find_anchor(backend: tokenizers.Tokenizer) -> str:
    """The first token whose text is letters: nothing strips it, cleans it or takes it for a byte."""
    decoder = backend.decoder
    for token_id in range(backend.get_vocab_size()):
        token = backend.id_to_token(token_id)
        if token and token.isalpha() and (decoder is None or decoder.decode([token]) == token):
            return token
    return "a"  # decoders work on strings: the token need not be in the vocabulary


def _token_bytes(token: str) -> bytes:
    table = _byte_of_char()
    try:
        return bytes(table[char] for char in token)
    except KeyError:  # an added token that is plain text
        return token.encode()


@lru_cache(maxsize=1)
def _byte_of_char() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 characters stand for their own byte, the others for U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}
