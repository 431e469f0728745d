"""The runtime's tokenizer against transformers, on small tokenizers of every family."""

from __future__ import annotations

import dataclasses
import enum
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, ByT5Tokenizer, PythonBackend
from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS

from exporter.tokenizer import save_tokenizer
from exporter.validation.tokens import compare_tokenizers
from runtime.errors import ExportError, InputError
from runtime.tokenizer import DecodeStream, Tokenizer
from tests.parity.tokenizer_zoo import CHATML, CORPUS, FAMILIES, INST, build

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
RANDOMISED = ("gpt2_padded", "roberta", "llama3", "llama2", "gemma", "bert", "bert_cased", "t5", "albert", "clip")
DECODERS = ("gpt2_padded", "llama2", "gemma", "bert", "bert_cased", "t5", "clip", "openai_gpt", "word_level", "ctc")

# Ordinary text, any code point, and what tokenizers treat specially.
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(
        st.sampled_from([*"aeinst .,'?!", "  ", "\n", "▁", "Ġ", "##", "n't", "</s>", "<s>", "[SEP]", "<tool>", "👍🏽"]),
        max_size=30,
    ).map("".join),
    st.lists(st.sampled_from(" ".join(CORPUS).split(" ")), max_size=20).map(" ".join),
)
FAST = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def runtime_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Family -> the runtime tokenizer of its export."""
    made: dict[str, Tokenizer] = {}

    def get(family: str) -> Tokenizer:
        if family not in made:
            directory = tmp_path_factory.mktemp(family)
            made[family] = Tokenizer(directory, save_tokenizer(build(family), directory))
        return made[family]

    return get


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_hf_on_every_probe(family: str, runtime_of: Any) -> None:
    assert compare_tokenizers(build(family), runtime_of(family)) == []


@pytest.mark.parametrize("family", ["gpt2_padded", "llama3", "llama2", "bert_cased", "t5", "clip"])
def test_equals_what_transformers_loads_from_the_export(family: str, tmp_path: Path) -> None:
    spec = save_tokenizer(build(family), tmp_path)
    (tmp_path / "config.json").write_text("{}")
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    again = save_tokenizer(loaded, tmp_path / "again")
    assert compare_tokenizers(loaded, Tokenizer(tmp_path / "again", again)) == []
    texts = [*CORPUS, "<tool>x[lstrip] y"]
    assert loaded(texts)["input_ids"] == Tokenizer(tmp_path, spec)(texts)["input_ids"]


@pytest.mark.parametrize("name", ["tiny-gpt2-python-docs", "tiny-bert-sentiment"])
def test_trained_checkpoints(name: str, tmp_path: Path) -> None:
    if not (CHECKPOINTS / name / "tokenizer.json").is_file():
        pytest.skip(f"tests/checkpoints/{name} has not been trained here")
    source = AutoTokenizer.from_pretrained(CHECKPOINTS / name)
    assert compare_tokenizers(source, Tokenizer(tmp_path, save_tokenizer(source, tmp_path))) == []


@pytest.mark.parametrize("family", RANDOMISED)
@FAST
@given(text=TEXT, add_special_tokens=st.booleans())
def test_any_text(family: str, runtime_of: Any, text: str, add_special_tokens: bool) -> None:
    options = {"return_offsets_mapping": True, "add_special_tokens": add_special_tokens}
    ours = runtime_of(family)(text, **options)
    assert ours == dict(build(family)(text, **options))
    assert all(0 <= start <= end <= len(text) for start, end in ours["offset_mapping"])


@pytest.mark.parametrize("family", RANDOMISED)
@FAST
@given(
    pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3),
    truncation=st.sampled_from(["longest_first", "only_first", "only_second"]),
    max_length=st.integers(5, 24),
    stride=st.integers(0, 4),
    padding=st.sampled_from([False, True, "max_length"]),
    padding_side=st.sampled_from(["left", "right"]),
    overflow=st.booleans(),
)
def test_any_pair_cut_and_padded(family: str, runtime_of: Any, pairs: Any, overflow: bool, **options: Any) -> None:
    options |= {"return_overflowing_tokens": overflow, "return_token_type_ids": True, "return_offsets_mapping": True}
    try:
        expected: Any = dict(build(family)(pairs, **options))
    except BaseException as error:  # too short to truncate, or the library's panic about the stride
        assert "too short" in str(error) or "stride" in str(error)
        with pytest.raises(InputError):
            runtime_of(family)(pairs, **options)
        return
    assert runtime_of(family)(pairs, **options) == expected


@pytest.mark.parametrize("family", DECODERS)
@FAST
@given(data=st.data(), text=TEXT, skip=st.booleans())
def test_streamed_text_equals_decode(family: str, runtime_of: Any, data: Any, text: str, skip: bool) -> None:
    ours, hf = runtime_of(family), build(family)
    noise = data.draw(st.lists(st.integers(0, len(hf) + 3), max_size=30))
    for ids in (hf(text)["input_ids"], noise):
        stream = DecodeStream(ours, skip_special_tokens=skip)
        pieces = [stream.push(i) for i in ids]
        assert "".join(pieces) + stream.flush() == hf.decode(ids, skip_special_tokens=skip)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["gpt2_padded", "bert", "xlnet", "t5"])
def test_pad_equals_hf(family: str, side: str, runtime_of: Any) -> None:
    options = {"return_special_tokens_mask": True, "return_token_type_ids": True}
    expected = build(family).pad(
        [build(family)(text, **options) for text in CORPUS], padding_side=side, return_tensors="np"
    )
    padded = runtime_of(family).pad([runtime_of(family)(text, **options) for text in CORPUS], padding_side=side)
    assert padded.keys() == expected.keys()
    assert all(np.array_equal(padded[key], expected[key]) and padded[key].dtype == np.int64 for key in padded)


# ---- chat


class Role(enum.StrEnum):
    USER = "user"


@dataclasses.dataclass
class Part:
    type: str
    text: str


REASONING = (
    "{% for m in messages %}{{ m.role }}: {{ m.reasoning_content }}|{{ m.thinking }}|{{ m.content }};{% endfor %}"
    "{{ custom }}{{ documents | tojson(indent=1) }}{{ dict(a=1) | tojson }}"
)
CHATS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "thinking": "so"}],
    [{"role": Role.USER, "content": "  hi "}, {"role": "assistant", "content": "Well,  "}],
    [{"role": "user", "content": "ü <&> '\""}, {"role": "assistant", "content": "a", "reasoning": "b", "x": None}],
    [{"role": "user", "content": [Part("text", "hello"), {"type": "image", "image": object()}]}],
    [{"role": "assistant", "content": [{"type": "text", "text": "one"}, {"type": "image"}]}],
    [{"role": "user", "content": np.float32(1.5)}, {"role": "assistant", "content": "CONTINUE"}],
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"add_generation_prompt": True},
    {"continue_final_message": True},
    {"continue_final_message": "reasoning_content"},
    {"custom": Role.USER, "documents": [{"title": "t", "text": "ß"}]},
    {"bos_token": "<other>", "tools": [{"type": "function", "function": {"name": "f<>"}}]},
]
TEMPLATES = {
    "chatml": CHATML,
    "inst": INST,
    "reasoning": REASONING,
    "private": "{% set ns = namespace(_x=1) %}",
    "escape": "{{ messages.__class__.__mro__ }}{{ ''.__class__ }}",
    "mutates": "{% set _ = messages.append(1) %}",
    "undefined": "{{ messages[0].nothing.at_all }}",
    "syntax": "{% if %}",
    "calls": "{{ messages[0].content.tobytes() }}",
    "namespace_self": "{% set ns = namespace(self=3) %}{{ ns.self }}",
    "date": "{{ strftime_now('%Y-%m-%d') }} {{ dict.fromkeys([1]) }}",
    "generation_scope": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", TEMPLATES)
def test_chat_templates_render_and_refuse_alike(name: str, options: dict[str, Any], runtime_of: Any) -> None:
    for chat in CHATS:
        outcomes = []
        for tokenizer in (build("qwen2"), runtime_of("qwen2")):
            try:
                out = tokenizer.apply_chat_template(chat, chat_template=TEMPLATES[name], tokenize=False, **options)
            except Exception as error:
                assert tokenizer is build("qwen2") or isinstance(error, InputError)
                out = None
            outcomes.append(out)
        assert outcomes[0] == outcomes[1]


def test_chat_of_several_conversations_is_padded_and_truncated_like_hf(runtime_of: Any) -> None:
    chats = [[{"role": "user", "content": "hi"}], [{"role": "user", "content": "a much longer question than that"}]]
    for options in ({"padding": True}, {"truncation": True, "max_length": 9, "padding": "max_length"}):
        expected = build("llama3").apply_chat_template(chats, return_dict=True, **options)
        assert runtime_of("llama3").apply_chat_template(chats, **options) == dict(expected)
    ids = runtime_of("llama3").apply_chat_template(chats[0], return_dict=False)
    assert ids == build("llama3").apply_chat_template(chats[0], return_dict=False)


# ---- the comparison catches what is wrong


WRONG_FIELDS: list[dict[str, Any]] = [
    {"padding_side": "left"},
    {"truncation_side": "left"},
    {"model_max_length": 41},
    {"model_max_length": None},
    {"model_input_names": ["input_ids", "attention_mask"]},
    {"pad_token_id": 1},
    {"pad_token_type_id": 1},
    {"special_tokens": {"cls_token": "[SEP]"}},
    {"extra_special_tokens": ["[MASK]"]},
    {"split_special_tokens": True},
    {"clean_up_tokenization_spaces": True},
    {"clean_up_on_decode": False},
    {"decode_word_suffix": "e"},
    {"vocab_size": 1},
    {"chat_template": {"default": "chat_template.jinja"}},
]


@pytest.mark.parametrize("wrong", WRONG_FIELDS, ids=str)
def test_a_wrong_manifest_field_is_caught(wrong: dict[str, Any], tmp_path: Path) -> None:
    spec = save_tokenizer(build("bert"), tmp_path)
    (tmp_path / "chat_template.jinja").write_text("x")
    mismatches = compare_tokenizers(build("bert"), Tokenizer(tmp_path, msgspec.structs.replace(spec, **wrong)))
    field = next(iter(wrong))
    assert any(line.startswith(f"manifest field {field}: ") for line in mismatches)
    assert all("\n" not in line for line in mismatches)


BEHAVING = ("padding_side", "truncation_side", "model_max_length", "model_input_names", "clean_up_tokenization_spaces")


@pytest.mark.parametrize("field", BEHAVING)
def test_behaviour_catches_it_even_if_the_field_is_believed(field: str, tmp_path: Path) -> None:
    wrong = next(w for w in WRONG_FIELDS if field in w)
    spec = msgspec.structs.replace(save_tokenizer(build("bert"), tmp_path), **wrong)
    mismatches = compare_tokenizers(build("bert"), Tokenizer(tmp_path, spec))
    assert any(not line.startswith("manifest field") for line in mismatches)


def test_a_wrong_normaliser_is_caught(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["normalizer"]["lowercase"] = False

    assert any("encode" in line for line in _after(change, "bert", tmp_path))


def test_a_wrong_special_token_in_the_template_is_caught(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["post_processor"]["sep"] = ["[MASK]", 4]
        config["post_processor"]["special_tokens"]["[SEP]"]["ids"] = [4]

    config_type = json.loads(build("bert").backend_tokenizer.to_str())["post_processor"]["type"]
    assert config_type == "TemplateProcessing"
    assert any("encode" in line for line in _after(change, "bert", tmp_path))


def test_a_wrong_merge_decoder_and_added_token_are_caught(tmp_path: Path) -> None:
    def no_merges(config: dict[str, Any]) -> None:
        config["model"]["merges"] = config["model"]["merges"][:-40]

    def other_decoder(config: dict[str, Any]) -> None:
        config["decoder"] = {"type": "Fuse"}

    def not_special(config: dict[str, Any]) -> None:
        config["added_tokens"] = [{**token, "special": False} for token in config["added_tokens"]]

    assert any("encode" in line for line in _after(no_merges, "gpt2_padded", tmp_path))
    assert any("decode" in line for line in _after(other_decoder, "gpt2_padded", tmp_path))
    assert any("skip_special_tokens=True" in line for line in _after(not_special, "gpt2_padded", tmp_path))


def test_a_changed_chat_template_is_caught(tmp_path: Path) -> None:
    spec = save_tokenizer(build("qwen2"), tmp_path)
    (tmp_path / "chat_template.jinja").write_text(CHATML.replace("assistant", "Assistant"))
    mismatches = compare_tokenizers(build("qwen2"), Tokenizer(tmp_path, spec))
    assert mismatches
    assert all(line.startswith("chat: ") for line in mismatches)


def _after(change: Any, family: str, directory: Path) -> list[str]:
    spec = save_tokenizer(build(family), directory)
    path = directory / "tokenizer.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return compare_tokenizers(build(family), Tokenizer(directory, spec))


# ---- saving


def test_truncation_and_padding_of_an_earlier_call_are_not_saved(tmp_path: Path) -> None:
    source = FAMILIES["bert"]()
    source("hello", truncation=True, max_length=5, padding="max_length")
    assert source.backend_tokenizer.truncation is not None
    save_tokenizer(source, tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    assert saved["truncation"] is None
    assert saved["padding"] is None


def test_a_tokenizer_written_in_python_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ByT5Tokenizer exists only in Python .*: transformers has no conversion"):
        save_tokenizer(ByT5Tokenizer(), tmp_path)
    assert list(tmp_path.iterdir()) == []


class WordTokenizer(PythonBackend):
    """Whole words, in Python: what `word_level` of the zoo does in the library."""

    model_input_names = ("input_ids", "attention_mask")
    padding_side = "left"

    def __init__(self, **options: Any) -> None:
        self._words = build("word_level").get_vocab()
        special = {"special_tokens_pattern": "none", "unk_token": "<unk>", "pad_token": "<unk>"}
        super().__init__(**{**special, "model_max_length": 20, **options})

    @property
    def vocab_size(self) -> int:
        return len(self._words)

    def get_vocab(self) -> dict[str, int]:
        return dict(self._words)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return text.split()

    def _convert_token_to_id(self, token: str) -> int:
        return self._words.get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return next(word for word, i in self._words.items() if i == index)


def test_a_tokenizer_written_in_python_is_converted_and_compared(tmp_path: Path, monkeypatch: Any) -> None:
    """A converter that transformers would know, for a Python tokenizer of whole words."""

    class Converter:
        def __init__(self, original: Any) -> None:
            self.original = original

        def converted(self) -> Any:
            return build("word_level").backend_tokenizer

    monkeypatch.setitem(SLOW_TO_FAST_CONVERTERS, "WordTokenizer", Converter)
    source = WordTokenizer()
    spec = save_tokenizer(source, tmp_path)
    assert (spec.padding_side, spec.model_max_length, spec.pad_token_id) == ("left", 20, 0)
    assert compare_tokenizers(source, Tokenizer(tmp_path, spec)) == []
    wrong = msgspec.structs.replace(spec, padding_side="right")
    assert any(line.startswith("pad: ") for line in compare_tokenizers(source, Tokenizer(tmp_path, wrong)))


def test_what_only_the_class_knows_is_in_the_spec(tmp_path: Path) -> None:
    assert save_tokenizer(build("xlnet"), tmp_path).pad_token_type_id == build("xlnet").pad_token_type_id
    spec = save_tokenizer(build("llama2"), tmp_path)
    assert (spec.padding_side, spec.model_max_length, spec.chat_template) == (
        "left",
        None,
        {"default": "chat_template.jinja"},
    )
    names = save_tokenizer(build("llama3"), tmp_path).chat_template
    assert set(names) == {"default", "tool_use", "rag_strict"}
    assert all((tmp_path / file).is_file() for file in names.values())
    assert save_tokenizer(build("clip"), tmp_path).decode_word_suffix == "</w>"
    assert save_tokenizer(build("bert"), tmp_path).model_input_names == [
        "input_ids",
        "token_type_ids",
        "attention_mask",
    ]
