"""The runtime's tokenizer by itself: call forms, errors, threads, speed. Equality with HF: tests/parity."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from runtime.bundle import Bundle, Manifest, TokenizerSpec
from runtime.errors import BundleError, InputError
from runtime.tokenizer import Tokenizer as RuntimeTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "four", "five", "##s", ".", "'"]
SPEC = TokenizerSpec(
    model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    model_max_length=8,
    pad_token_id=0,
    special_tokens={"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    vocab_size=len(WORDS),
)


def write(directory: Path) -> Path:
    """A small BERT-like tokenizer.json, with truncation and padding left in it."""
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in WORDS[:4]])
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture
def tokenizer(tmp_path: Path) -> RuntimeTokenizer:
    return RuntimeTokenizer(write(tmp_path), SPEC)


def test_truncation_and_padding_in_the_file_are_ignored(tokenizer: RuntimeTokenizer) -> None:
    assert tokenizer("one two three four")["input_ids"] == [2, 4, 5, 6, 7, 3]


def test_forms_of_input(tokenizer: RuntimeTokenizer) -> None:
    one, pair = [2, 4, 3], [2, 4, 3, 5, 3]
    assert tokenizer("one")["input_ids"] == one
    assert tokenizer(["one"])["input_ids"] == [one]
    assert tokenizer(("one", "one"))["input_ids"] == [one, one]
    assert tokenizer("one", "two")["input_ids"] == pair
    assert tokenizer("one", "")["input_ids"] == one  # as in HF: no second text
    assert tokenizer(["one"], [""])["input_ids"] == [[2, 4, 3, 3]]
    assert tokenizer([("one", "two"), ["one", "two"]])["input_ids"] == [pair, pair]
    assert tokenizer(["one", "two"], is_split_into_words=True)["input_ids"] == [2, 4, 5, 3]
    assert tokenizer([["one"], ["two"]], is_split_into_words=True)["input_ids"] == [one, [2, 5, 3]]
    assert tokenizer([(["one"], ["two"])], is_split_into_words=True)["input_ids"] == [pair]
    assert tokenizer([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}
    assert tokenizer("one", "two")["token_type_ids"] == [0, 0, 0, 1, 1]


def test_alignment(tokenizer: RuntimeTokenizer) -> None:
    encoding = tokenizer(["ones two", "five"], return_offsets_mapping=True)
    assert encoding.tokens(0) == ["[CLS]", "one", "##s", "two", "[SEP]"]
    assert encoding.word_ids(0) == [None, 0, 0, 1, None]
    assert encoding.sequence_ids(1) == [None, 0, None]
    assert encoding["offset_mapping"][0] == [(0, 0), (0, 3), (3, 4), (5, 8), (0, 0)]
    assert encoding.char_to_token(0, 5) == 3
    assert encoding.char_to_token(0, 4) is None
    assert encoding.token_to_chars(0, 2) == (3, 4)
    assert encoding.token_to_word(0, 3) == 1
    assert encoding.word_to_chars(0, 0) == (0, 4)


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        (("a\ud800b",), {}, r"text 0 .*U\+D800\) at index 1"),
        ((["one", "xy\udfff"],), {}, r"text 1 .*U\+DFFF\) at index 2"),
        ((["one"], ["\udc00"]), {}, r"text 0 .*U\+DC00\) at index 0"),
        ((5,), {}, "text 0 must be a str .* not int"),
        ((None,), {}, "not None"),
        ((["one", None],), {}, "text 1 must be a str"),
        ((["one", ["a", "b", "c"]],), {}, "text 1 must be a str"),
        (("one",), {"is_split_into_words": True}, "list of words"),
        ((["one"], "two"), {}, "must be a list of 1"),
        ((["one"], ["two", "three"]), {}, "must be a list of 1, not 2"),
        (("one",), {"padding": "widest"}, "padding must be one of"),
        (("one",), {"truncation": "only_third"}, "truncation must be one of"),
        (("one",), {"padding": True, "padding_side": "top"}, "padding_side must be 'right' or 'left'"),
        (("one",), {"truncation_side": "top"}, "truncation_side must be 'right' or 'left'"),
        (("one",), {"truncation": True, "padding": True, "pad_to_multiple_of": 3}, "not a multiple"),
        (("one",), {"max_length": 1}, "less than the 2 special tokens"),
        (("one two three",), {"max_length": 4, "stride": 2}, "stride 2"),
        (("one two three",), {"max_length": 4, "stride": 3}, "stride 3"),
        (("one",), {"max_length": 4, "stride": -1}, "stride -1"),
        (("one two three",), {"max_length": 4, "truncation": "only_second"}, "needs a text_pair"),
        (("one", "two three four"), {"max_length": 4, "truncation": "only_first"}, "too short"),
    ],
)
def test_refusals_are_one_line(tokenizer: RuntimeTokenizer, args: Any, options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        tokenizer(*args, **options)
    assert "\n" not in str(refusal.value)


def test_padding_needs_a_pad_token_only_when_something_is_padded(tmp_path: Path) -> None:
    tokenizer = RuntimeTokenizer(write(tmp_path), msgspec.structs.replace(SPEC, pad_token_id=None))
    with pytest.raises(InputError, match="no pad token"):
        tokenizer("one", padding=True)
    rows = [tokenizer("one"), tokenizer("one two")]
    with pytest.raises(InputError, match="no pad token"):
        tokenizer.pad(rows)
    assert tokenizer.pad(rows[:1])["input_ids"].tolist() == [[2, 4, 3]]


def test_pad(tokenizer: RuntimeTokenizer) -> None:
    options = {"return_special_tokens_mask": True, "return_offsets_mapping": True}
    rows = [tokenizer(text, **options) for text in ("one", "one two")]
    right, left = tokenizer.pad(rows), tokenizer.pad(rows, padding_side="left")
    assert right["input_ids"].tolist() == [[2, 4, 3, 0], [2, 4, 5, 3]]
    assert left["input_ids"].tolist() == [[0, 2, 4, 3], [2, 4, 5, 3]]
    assert left["attention_mask"].tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]
    assert right["special_tokens_mask"].tolist() == [[1, 0, 1, 1], [1, 0, 0, 1]]
    assert right["offset_mapping"].shape == (2, 4, 2)
    assert all(array.dtype == np.int64 for array in right.values())
    with pytest.raises(InputError, match="empty"):
        tokenizer.pad([])
    with pytest.raises(InputError, match="same keys"):
        tokenizer.pad([rows[0], {"input_ids": [1]}])


def test_the_limit_of_the_model(tmp_path: Path) -> None:
    text = "one two three four five one two three"
    limited = RuntimeTokenizer(write(tmp_path), SPEC)
    assert len(limited(text, truncation=True)["input_ids"]) == 8
    assert len(limited(text)["input_ids"]) == 10
    assert len(limited("one", padding="max_length")["input_ids"]) == 8
    unlimited = RuntimeTokenizer(tmp_path, msgspec.structs.replace(SPEC, model_max_length=None))
    assert len(unlimited(text, truncation=True, padding="max_length")["input_ids"]) == 10
    assert unlimited.model_max_length is None


def test_sides(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SPEC, truncation_side="left", padding_side="left")
    tokenizer = RuntimeTokenizer(write(tmp_path), spec)
    assert tokenizer("one two three", max_length=4, truncation=True)["input_ids"] == [2, 5, 6, 3]
    assert tokenizer("one two three", max_length=4, truncation_side="right")["input_ids"] == [2, 4, 5, 3]
    assert tokenizer("one", max_length=4, padding="max_length")["input_ids"] == [0, 2, 4, 3]


def test_vocabulary(tokenizer: RuntimeTokenizer) -> None:
    assert tokenizer.convert_tokens_to_ids(["one", "nothing"]) == [4, 1]
    assert tokenizer.convert_ids_to_tokens([2, 4, 999]) == ["[CLS]", "one", None]
    assert tokenizer.convert_ids_to_tokens([2, 4], skip_special_tokens=True) == ["one"]
    assert tokenizer.convert_ids_to_tokens(np.int64(4)) == "one"
    assert (tokenizer.cls_token, tokenizer.cls_token_id, tokenizer.bos_token, tokenizer.bos_token_id) == (
        "[CLS]",
        2,
        None,
        None,
    )
    assert tokenizer.all_special_ids == [0, 1, 2, 3]
    assert len(tokenizer) == tokenizer.vocab_size == len(WORDS)
    assert tokenizer.continuing_subword_prefix == "##"


def test_decode_takes_arrays_and_single_ids(tokenizer: RuntimeTokenizer) -> None:
    assert tokenizer.decode(np.array([2, 4, 5])) == "[CLS] one two"
    assert tokenizer.decode(4) == "one"
    assert tokenizer.decode([4, 10_000]) == "one"
    assert tokenizer.batch_decode(np.array([[2, 4], [5, 3]]), skip_special_tokens=True) == ["one", "two"]
    with pytest.raises(InputError, match="between 0 and"):
        tokenizer.decode([-100])


def test_clean_up_follows_the_manifest_and_the_call(tmp_path: Path) -> None:
    ids = [4, 11, 10]
    spec = msgspec.structs.replace(SPEC, clean_up_on_decode=True)
    assert RuntimeTokenizer(write(tmp_path), spec).decode(ids) == "one ' ."
    assert RuntimeTokenizer(tmp_path, spec).decode(ids, clean_up_tokenization_spaces=True) == "one '."
    by_default = msgspec.structs.replace(spec, clean_up_tokenization_spaces=True)
    assert RuntimeTokenizer(tmp_path, by_default).decode(ids) == "one '."
    assert RuntimeTokenizer(tmp_path, by_default).decode(ids, clean_up_tokenization_spaces=False) == "one ' ."
    ignored = msgspec.structs.replace(by_default, clean_up_on_decode=False)
    assert RuntimeTokenizer(tmp_path, ignored).decode(ids, clean_up_tokenization_spaces=True) == "one ' ."


def test_threads_with_different_lengths_do_not_disturb_each_other(tokenizer: RuntimeTokenizer) -> None:
    text = "one two three four five " * 50

    def call(length: int) -> Any:
        options = {"truncation": True, "max_length": length, "stride": 1, "padding": "max_length"}
        return tokenizer([text, "one"], return_overflowing_tokens=True, **options) if length % 5 else tokenizer(text)

    lengths = [4 + i % 40 for i in range(200)]
    alone = [call(length) for length in lengths]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, lengths)) == alone


def test_long_text_is_fast(tokenizer: RuntimeTokenizer) -> None:
    text = ("one two, three ünï. " * 5001)[:100_000]
    start = time.perf_counter()
    ids = tokenizer(text, return_offsets_mapping=True)["input_ids"]
    tokenizer("one", text, truncation="only_second", max_length=200, stride=50, return_overflowing_tokens=True)
    tokenizer.decode(ids)
    assert len(ids) > 20_000
    assert time.perf_counter() - start < 3


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="missing"):
        RuntimeTokenizer(tmp_path, SPEC)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Nothing"}}))
    with pytest.raises(BundleError, match="cannot be read") as damage:
        RuntimeTokenizer(tmp_path, SPEC)
    assert "\n" not in str(damage.value)


def test_from_bundle(tmp_path: Path) -> None:
    def bundle(tokenizer: TokenizerSpec | None) -> Bundle:
        common: dict[str, Any] = {"name": "b", "task": "t", "architecture": "A", "model_type": "m", "precision": "fp32"}
        return Bundle(tmp_path, Manifest(**common, path="plain", graphs={}, tokenizer=tokenizer))

    with pytest.raises(BundleError, match="has no tokenizer"):
        RuntimeTokenizer.from_bundle(bundle(None))
    with pytest.raises(BundleError, match=r"tokenizer\.json is missing"):
        RuntimeTokenizer.from_bundle(bundle(SPEC))
    write(tmp_path)
    assert RuntimeTokenizer.from_bundle(bundle(SPEC))("one")["input_ids"] == [2, 4, 3]
    outside = msgspec.structs.replace(SPEC, chat_template={"default": "../secret"})
    with pytest.raises(BundleError, match="outside"):
        RuntimeTokenizer.from_bundle(bundle(outside))


def test_needs_neither_torch_nor_transformers(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from runtime.tokenizer import Tokenizer; from runtime.bundle import TokenizerSpec;"
        f"t = Tokenizer(pathlib.Path({str(write(tmp_path))!r}), TokenizerSpec(['input_ids']));"
        "t.apply_chat_template([{'role': 'user', 'content': 'one'}], chat_template='{{ messages[0].content }}');"
        "print([m for m in ('torch', 'transformers', 'optimum', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
