"""Level 1 of validation: the runtime's tokenizer must equal HF's, on probes that cover every call option."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from transformers import PreTrainedTokenizerBase, TokenizersBackend
from transformers.utils import logging

from exporter.tokenizer import describe_tokenizer
from exporter.validation import probes
from runtime.tokenizer import DecodeStream, Tokenizer

_SHOWN = 3  # mismatches per check; the rest is counted
_LONGEST = 4096  # tokens of the text that meets the model's own limit


@dataclass(frozen=True)
class Check:
    """One question put to both tokenizers. Answers are compared with `==`; two refusals count as equal."""

    name: str
    ask: Callable[[Any], Any]
    ask_runtime: Callable[[Tokenizer], Any] | None = None  # where the question is not the same for both


def compare_tokenizers(hf_tokenizer: PreTrainedTokenizerBase, runtime_tokenizer: Tokenizer) -> list[str]:
    """Readable mismatches between the two, empty when they agree on everything.

    Covers ids, masks, types, offsets and word ids of single texts, pairs and batches; padding, truncation and overflow
    on both sides; special and added tokens inside of text; decoding, streamed decoding, chat templates; the manifest's
    fields. About a second.
    """
    hf, ours = hf_tokenizer, runtime_tokenizer
    groups: tuple[Iterator[Check], ...] = (_decoding(hf), _chats(hf))
    if isinstance(hf, TokenizersBackend):
        groups = (_attributes(hf, ours), _encoding(hf), _lengths(hf), *groups)
    else:  # written in Python and converted for the runtime: it knows no offsets and no words
        groups = (_python_encoding(hf), *groups)
    with _quiet():
        return [line for checks in groups for line in _mismatches(checks, hf, ours)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without HF's warnings about texts that are too long and odd combinations of options: those are the probes."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.set_verbosity(verbosity)


def _mismatches(checks: Iterable[Check], hf: PreTrainedTokenizerBase, ours: Tokenizer) -> list[str]:
    found: dict[str, list[str]] = {}
    for check in checks:
        expected, answer = _answer(check.ask, hf), _answer(check.ask_runtime or check.ask, ours)
        if expected != answer:
            group = found.setdefault(check.name.partition(":")[0], [])
            group.append(f"{check.name}: {_difference(expected, answer)}")
    lines = []
    for name, messages in found.items():
        lines += messages[:_SHOWN]
        if len(messages) > _SHOWN:
            lines.append(f"{name}: {len(messages) - _SHOWN} more mismatches of this kind")
    return lines


def _answer(ask: Callable[[Any], Any], tokenizer: Any) -> Any:
    try:
        return ask(tokenizer)
    except Exception:  # both refuse by raising, each with its own classes
        return "an error"
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the tokenizers library's, where HF lets bad input through
            raise
        return "an error"


def _difference(hf: Any, ours: Any) -> str:
    """Where two answers part, in words."""
    if isinstance(hf, dict) and isinstance(ours, dict):
        key = next(k for k in (*hf, *ours) if hf.get(k, _MISSING) != ours.get(k, _MISSING))
        return f"{key}: {_difference(hf.get(key, _MISSING), ours.get(key, _MISSING))}"
    if isinstance(hf, list) and isinstance(ours, list):
        at = next((i for i, (a, b) in enumerate(zip(hf, ours, strict=False)) if a != b), None)
        if at is None:
            return f"HF has {len(hf)} items, the bundle {len(ours)}"
        return f"at {at}: {_difference(hf[at], ours[at])}"
    return f"HF has {_short(hf)}, the bundle {_short(ours)}"


_MISSING = "nothing"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


# ---- the manifest


def _attributes(hf: PreTrainedTokenizerBase, ours: Tokenizer) -> Iterator[Check]:
    """The fields of the manifest, and vocabulary and special tokens as both report them."""
    expected = describe_tokenizer(hf)
    for field in expected.__struct_fields__:
        yield _constant(f"manifest field {field}", getattr(expected, field), getattr(ours.spec, field))
    names = [f"{name}_token_id" for name in ("bos", "eos", "unk", "sep", "cls", "mask", "pad")]
    for name in ("all_special_tokens", "all_special_ids", "special_tokens_map", *names):
        yield Check(f"attribute {name}", attrgetter(name))
    yield Check("vocabulary size with added tokens", len)
    yield Check("vocabulary", lambda tokenizer: tokenizer.get_vocab())
    yield Check("special tokens added to a text", lambda tokenizer: tokenizer.num_special_tokens_to_add(False))
    yield Check("special tokens added to a pair", lambda tokenizer: tokenizer.num_special_tokens_to_add(True))


def _constant(name: str, expected: Any, found: Any) -> Check:
    return Check(name, lambda _: expected, lambda _: found)


# ---- text to ids


def _call(name: str, *args: Any, **kwargs: Any) -> Check:
    """A call of the tokenizer, with every column."""
    everything = {"return_special_tokens_mask": True, "return_offsets_mapping": True, **kwargs}
    return Check(name, lambda tokenizer: _columns(tokenizer(*args, **everything)))


def _columns(encoding: Any) -> dict[str, Any]:
    rows = range(len(encoding.encodings))
    alignment = {
        "tokens": [encoding.tokens(i) for i in rows],
        "word_ids": [encoding.word_ids(i) for i in rows],
        "sequence_ids": [encoding.sequence_ids(i) for i in rows],
    }
    return {**encoding, **alignment}


def _texts(hf: PreTrainedTokenizerBase) -> list[str]:
    added = [str(token) for token in hf.added_tokens_encoder]
    return [*probes.TEXTS, *probes.texts_with_specials(hf.all_special_tokens, added)]


def _encoding(hf: PreTrainedTokenizerBase) -> Iterator[Check]:
    """Single texts, pairs, words; with and without special tokens and type ids."""
    for text in _texts(hf):
        yield _call(f"encode: {_short(text)}", text)
    for first, second in probes.PAIRS:
        yield _call(f"encode pair: {_short(first)}, {_short(second)}", first, second)
    pairs = list(probes.PAIRS)
    yield _call("encode batch of texts without special tokens", list(_texts(hf)), add_special_tokens=False)
    yield _call("encode batch of pairs without special tokens", pairs, add_special_tokens=False)
    for wanted in (True, False):
        columns = {"return_token_type_ids": wanted, "return_attention_mask": wanted}
        yield _call(f"encode batch of pairs with columns {wanted}", pairs, **columns)
    words = [list(item) for item in probes.WORDS]
    yield _call("encode words", words, is_split_into_words=True)
    yield _call("encode words in pairs", words, words[::-1], is_split_into_words=True)


def _python_encoding(hf: PreTrainedTokenizerBase) -> Iterator[Check]:
    """Ids and masks of texts, pairs and padded batches."""
    for text in _texts(hf):
        yield _plain_call(f"encode: {_short(text)}", text)
    for first, second in probes.PAIRS:
        yield _plain_call(f"encode pair: {_short(first)}, {_short(second)}", first, second)
    yield _plain_call("pad: texts", list(probes.TEXTS), padding=True, truncation=True, max_length=24)


def _plain_call(name: str, *args: Any, **kwargs: Any) -> Check:
    return Check(name, lambda tokenizer: dict(tokenizer(*args, **kwargs)))


def _lengths(hf: PreTrainedTokenizerBase) -> Iterator[Check]:
    """Padding and truncation: every strategy, both sides, the model's limit and small ones, with overflow."""
    texts, pairs = list(probes.TEXTS), list(probes.PAIRS)
    for padding in _paddings():
        yield _call(f"pad: {padding}", texts, **padding)
    yield _call("pad: pairs", pairs, padding=True)
    for cut in _cuts(hf):
        yield _call(f"truncate: texts, {cut}", texts, **cut)
        yield _call(f"truncate: pairs, {cut}", pairs, **cut)
    for first, second in probes.PAIRS:
        for strategy in ("only_first", "only_second", "longest_first"):
            cut = {"truncation": strategy, "max_length": 20, "stride": 3, "return_overflowing_tokens": True}
            yield _call(f"truncate: pair {_short(first)}, {cut}", first, second, **cut)
    limit = hf.model_max_length
    if limit <= _LONGEST:
        long_text = "Is it a long text? " * (int(limit) // 4 + 1)  # five words, so five tokens or more
        yield _call("truncate: at the model's limit", long_text, truncation=True)
        yield _call("truncate: pair at the model's limit", long_text, long_text, truncation=True)
        yield _call("pad: to the model's limit", "short", padding="max_length", truncation=True)
    else:
        yield _call("truncate: without a limit", texts, truncation=True, padding="max_length")


def _paddings() -> list[dict[str, Any]]:
    return [
        {"padding": True},
        {"padding": "longest", "padding_side": "left"},
        {"padding": "longest", "padding_side": "right"},
        {"padding": True, "pad_to_multiple_of": 8},
        {"padding": "max_length", "max_length": 32},
        {"padding": "max_length", "max_length": 16, "truncation": True},
    ]


def _cuts(hf: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    added = hf.num_special_tokens_to_add(True)
    return [
        {"max_length": added + 5},
        {"max_length": added + 6, "truncation": True, "padding": True},
        {"max_length": added + 9, "truncation": True, "stride": 2, "return_overflowing_tokens": True},
        {"max_length": 24, "truncation": True, "stride": 4, "return_overflowing_tokens": True, "padding": True}
        if hf.pad_token_id is not None
        else {"max_length": 24, "truncation": True, "stride": 4, "return_overflowing_tokens": True},
    ]


# ---- ids to text


def _decoding(hf: PreTrainedTokenizerBase) -> Iterator[Check]:
    """Decoding of encoded texts and of ids from all over the vocabulary, whole and streamed."""
    sequences = [hf(text)["input_ids"] for text in _texts(hf)]
    sequences += [hf(*pair)["input_ids"] for pair in probes.PAIRS]
    spread = list(range(0, len(hf), max(1, len(hf) // 200)))
    for ids in [*sequences, spread, spread[::-1], *([i] for i in spread)]:
        if isinstance(hf, TokenizersBackend):
            yield _tokens_check(ids)
            yield from _decode_checks(ids, skip=False)
        # What is written in Python spaces out special tokens in its own way; answers are decoded without them.
        yield from _decode_checks(ids, skip=True)
    for clean_up in (False, True):
        yield _batch_decode_check(sequences, clean_up, skip=not isinstance(hf, TokenizersBackend))


def _tokens_check(ids: list[int]) -> Check:
    return Check(f"tokens of ids: {_short(ids)}", lambda tokenizer: tokenizer.convert_ids_to_tokens(ids))


def _batch_decode_check(sequences: list[list[int]], clean_up: bool, skip: bool) -> Check:
    options = {"clean_up_tokenization_spaces": clean_up, "skip_special_tokens": skip}
    return Check(
        f"decode with clean_up_tokenization_spaces={clean_up}",
        lambda tokenizer: tokenizer.batch_decode(sequences, **options),
    )


def _decode_checks(ids: list[int], skip: bool) -> Iterator[Check]:
    def decode(tokenizer: Any) -> Any:
        return tokenizer.decode(ids, skip_special_tokens=skip)

    what = f"{_short(ids)}, skip_special_tokens={skip}"
    yield Check(f"decode: {what}", decode)
    yield Check(f"decode in a stream: {what}", decode, lambda ours: _streamed(ours, ids, skip))


def _streamed(ours: Tokenizer, ids: list[int], skip: bool) -> str:
    stream = DecodeStream(ours, skip_special_tokens=skip)
    return "".join(stream.push(i) for i in ids) + stream.flush()


# ---- chat


def _chats(hf: PreTrainedTokenizerBase) -> Iterator[Check]:
    """Every chat template with and without tools, generation prompt and a message to continue."""
    names = [None, *hf.chat_template] if isinstance(hf.chat_template, dict) else [None]
    extras: list[dict[str, Any]] = [
        {},
        {"add_generation_prompt": True},
        {"tools": probes.tools(), "add_generation_prompt": True},
        {"continue_final_message": True},
    ]
    for chat in probes.chats() if hf.chat_template else []:
        for name in names:
            yield from (_chat_check(chat, {"chat_template": name, **extra}, tokenize=False) for extra in extras)
        yield _chat_check(chat, {}, tokenize=True)


def _chat_check(chat: list[dict[str, Any]], options: dict[str, Any], tokenize: bool) -> Check:
    def ask(tokenizer: Any) -> Any:
        out = tokenizer.apply_chat_template(chat, tokenize=tokenize, **options)
        return dict(out) if tokenize else out

    return Check(f"chat: {len(chat)} messages, {', '.join(options) or 'defaults'}, tokenize={tokenize}", ask)
