"""Incremental detokenisation: pieces joined equal the whole, characters stay whole, the cost per token is constant."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from runtime.bundle import TokenizerSpec
from runtime.tokenizer import DecodeStream
from runtime.tokenizer import Tokenizer as RuntimeTokenizer
from runtime.tokenizer.cleanup import REPLACEMENTS, CleanUpStream, clean_up_tokenization

SPEC = TokenizerSpec(model_input_names=["input_ids"])
LLAMA = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
PIECES = ["▁", "▁▁", "▁a", "a", "b▁c", "##s", "x</w>", ".", "▁'", "n't", "▁.", "</s>", "é", "▁é", "ab"]
BYTES = [f"<0x{byte:02X}>" for byte in (0x0A, 0x20, 0x41, 0x80, 0xC3, 0xA9, 0xE4, 0xBD, 0xA0, 0xF0, 0x9F, 0x98, 0xFF)]
DECODERS: dict[str, Any] = {
    "none": None,
    "wordpiece": decoders.WordPiece("##", cleanup=True),
    "wordpiece without clean-up": decoders.WordPiece("##", cleanup=False),
    "metaspace": decoders.Metaspace(),
    "metaspace never": decoders.Metaspace(prepend_scheme="never"),
    "llama": decoders.Sequence(LLAMA),
    "gemma": decoders.Sequence(LLAMA[:3]),
    "strip three": decoders.Sequence([*LLAMA[:3], decoders.Strip(" ", 3, 0)]),
    "strip the end": decoders.Sequence([*LLAMA[:3], decoders.Strip(" ", 1, 1)]),
    "replace at the end": decoders.Sequence([*LLAMA[:3], decoders.Replace(Regex("a +"), "")]),
    "bpe": decoders.BPEDecoder("</w>"),
    "ctc": decoders.CTC("a", "▁"),
    "nested": decoders.Sequence([decoders.Sequence(LLAMA[:2]), decoders.Fuse()]),
}


def make(directory: Path, tokens: list[str], decoder: Any, spec: TokenizerSpec = SPEC) -> RuntimeTokenizer:
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=tokens[0]))
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(directory / "tokenizer.json"))
    return RuntimeTokenizer(directory, spec)


def pieces(tokenizer: RuntimeTokenizer, ids: list[int], skip: bool = False) -> list[str]:
    stream = DecodeStream(tokenizer, skip_special_tokens=skip)
    return [*(stream.push(i) for i in ids), stream.flush()]


FAST = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", DECODERS)
@FAST
@given(ids=st.lists(st.integers(0, len(PIECES) + len(BYTES) + 2), max_size=25), skip=st.booleans())
def test_pieces_joined_equal_decode(name: str, tmp_path: Path, ids: list[int], skip: bool) -> None:
    tokenizer = make(tmp_path, PIECES + BYTES, DECODERS[name])
    if name == "strip the end":
        ids = [PIECES.index("a"), *ids, PIECES.index("a")]  # the library panics when there is nothing to strip
    assert "".join(pieces(tokenizer, ids, skip)) == tokenizer.decode(ids, skip_special_tokens=skip)


@FAST
@given(ids=st.lists(st.integers(0, len(PIECES) - 1), max_size=25))
def test_pieces_joined_equal_decode_with_clean_up(tmp_path: Path, ids: list[int]) -> None:
    spec = msgspec.structs.replace(SPEC, clean_up_tokenization_spaces=True, clean_up_on_decode=True)
    tokenizer = make(tmp_path, PIECES, decoders.WordPiece("##", cleanup=False), spec)
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


@FAST
@given(ids=st.lists(st.integers(0, len(PIECES) - 1), max_size=25))
def test_pieces_joined_equal_decode_with_a_word_suffix(tmp_path: Path, ids: list[int]) -> None:
    spec = msgspec.structs.replace(SPEC, decode_word_suffix="</w>")
    tokenizer = make(tmp_path, PIECES, decoders.Fuse(), spec)
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


BYTE_LEVEL = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "</s>", "日本 plain text", "Ġthe"]


@FAST
@given(ids=st.lists(st.integers(0, len(BYTE_LEVEL) - 1), max_size=25), skip=st.booleans())
def test_byte_level_with_any_bytes(tmp_path: Path, ids: list[int], skip: bool) -> None:
    tokenizer = make(tmp_path, BYTE_LEVEL, decoders.ByteLevel())
    assert "".join(pieces(tokenizer, ids, skip)) == tokenizer.decode(ids, skip_special_tokens=skip)


def test_byte_level_replaces_invalid_bytes_like_the_library(tmp_path: Path) -> None:
    """Every sequence of three from the bytes where UTF-8's rules change, with an ASCII byte at the end and without."""
    tokenizer = make(tmp_path, BYTE_LEVEL, decoders.ByteLevel())
    edges = (0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xE1, 0xED, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF)
    for triple in itertools.product(edges, repeat=3):
        for data in (bytes(triple), bytes(triple) + b"A"):
            ids = byte_ids(data)
            assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids) == data.decode(errors="replace")


def byte_ids(data: bytes) -> list[int]:
    """Ids of the byte tokens. GPT-2's alphabet moves the bytes that do not print to U+0100 and after, in order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = [byte for byte in range(256) if byte not in printable]
    return [BYTE_LEVEL.index(chr(b) if b in printable else chr(0x100 + moved.index(b))) for b in data]


def test_text_goes_out_as_soon_as_it_is_certain(tmp_path: Path) -> None:
    llama = make(tmp_path, PIECES + BYTES, DECODERS["llama"])
    ids = [llama.convert_tokens_to_ids(t) for t in ("▁a", "<0xE4>", "<0xBD>", "<0xA0>", "▁a", "</s>")]
    assert pieces(llama, ids) == ["a", "", "", "", "你 a", "</s>", ""]
    assert pieces(llama, ids, skip=True) == ["a", "", "", "", "你 a", "", ""]
    assert pieces(llama, ids[:3]) == ["a", "", "", "\ufffd\ufffd"]
    byte_level = make(tmp_path, BYTE_LEVEL, decoders.ByteLevel())
    assert pieces(byte_level, [BYTE_LEVEL.index("Ġthe"), *byte_ids("€".encode())]) == [" the", "", "", "€", ""]


@given(st.lists(st.text(st.sampled_from(" .?!,'ntmsvera"), max_size=6), max_size=12))
def test_clean_up_in_pieces_equals_clean_up_of_the_whole(texts: list[str]) -> None:
    stream = CleanUpStream()
    streamed = "".join(stream.push(text) for text in texts) + stream.flush()
    assert streamed == clean_up_tokenization("".join(texts))


def test_clean_up_replacements() -> None:
    assert clean_up_tokenization("a . b ? c ! d , e ' f do n't I 'm it 's we 've they 're") == (
        "a. b? c! d, e'f don't I'm it's we've they're"
    )
    assert len(REPLACEMENTS) == 10


@pytest.mark.parametrize("name", ["byte level", "llama", "wordpiece", "llama, one run of bytes", "clean-up"])
def test_cost_per_token_does_not_grow(name: str, tmp_path: Path) -> None:
    """40,000 tokens: a stream that decodes everything anew at each token would take minutes."""
    ids = [3, 2, 4, 9, 1] * 8000
    if name == "byte level":
        tokenizer = make(tmp_path, BYTE_LEVEL, decoders.ByteLevel())
    elif name == "clean-up":
        spec = msgspec.structs.replace(SPEC, clean_up_tokenization_spaces=True, clean_up_on_decode=True)
        tokenizer = make(tmp_path, PIECES, decoders.WordPiece("##", cleanup=False), spec)
        ids = [9] * 40_000  # nothing in it is ever certain
    else:
        tokenizer = make(tmp_path, PIECES + BYTES, DECODERS[name.partition(",")[0]])
        ids = [len(PIECES) + 2] * 40_000 if "run" in name else ids
    start = time.perf_counter()
    joined = "".join(pieces(tokenizer, ids))
    assert joined == tokenizer.decode(ids)
    assert time.perf_counter() - start < 5
