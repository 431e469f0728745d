"""Chat templates: the choice of the template, and what the sandbox keeps out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.errors import InputError
from runtime.tokenizer import Tokenizer
from runtime.tokenizer.chat import ChatRequest, render_chat
from tests.unit.test_tokenizer import SPEC, write

USER = {"role": "user", "content": "one"}


def with_templates(directory: Path, **templates: str) -> Tokenizer:
    for name, template in templates.items():
        (directory / f"{name}.jinja").write_text(template)
    files = {name: f"{name}.jinja" for name in templates}
    return Tokenizer(write(directory), msgspec.structs.replace(SPEC, chat_template=files))


def render(template: str, **options: Any) -> str:
    return render_chat([USER], ChatRequest(template, **options))


def test_choice_of_the_template(tmp_path: Path) -> None:
    tokenizer = with_templates(tmp_path, default="D", tool_use="T", rag="R")
    ask: Any = {"tokenize": False}
    assert tokenizer.apply_chat_template([USER], **ask) == "D"
    assert tokenizer.apply_chat_template([USER], tools=[{}], **ask) == "T"
    assert tokenizer.apply_chat_template([USER], tools=[{}], chat_template="rag", **ask) == "R"
    assert tokenizer.apply_chat_template([USER], chat_template="{{ cls_token }}{{ x }}", x=1, **ask) == "[CLS]1"
    assert tokenizer.apply_chat_template([[USER], [USER]], **ask) == ["D", "D"]


def test_without_a_template(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no chat template: this tokenizer has none"):
        Tokenizer(write(tmp_path), SPEC).apply_chat_template([USER])
    with pytest.raises(InputError, match="it has rag, but no default"):
        with_templates(tmp_path, rag="R").apply_chat_template([USER])


def test_tokens_come_without_added_special_tokens(tmp_path: Path) -> None:
    tokenizer = with_templates(tmp_path, default="[CLS] {{ messages[0].content }} two[SEP]")
    assert tokenizer.apply_chat_template([USER]) == {
        "input_ids": [2, 4, 5, 3],
        "token_type_ids": [0, 0, 0, 0],
        "attention_mask": [1, 1, 1, 1],
    }
    assert tokenizer.apply_chat_template([USER], return_dict=False, truncation=True, max_length=2) == [2, 4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"conversation": []}, "empty"),
        ({"conversation": ["one"]}, "must be a dict with 'role' and 'content', not str"),
        ({"tools": [print]}, "JSON schemas"),
        ({"documents": ["text"]}, "documents must be dicts"),
        ({"return_tensors": "pt"}, "return_tensors is not supported"),
        ({"sanitize_control_tokens": True}, "sanitize_control_tokens is not supported"),
        ({"add_generation_prompt": True, "continue_final_message": True}, "starts a new one"),
        ({"continue_final_message": "reasoning_content"}, "no 'reasoning_content' to continue"),
        ({"chat_template": "{{ raise_exception('only users') }}"}, "only users"),
        ({"chat_template": "no messages", "continue_final_message": True}, "does not use 'content'"),
        ({"chat_template": "{# content #}", "continue_final_message": True}, "drops or changes"),
    ],
)
def test_refusals(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    tokenizer = with_templates(tmp_path, default="{{ messages[0].content }}")
    with pytest.raises(InputError, match=words):
        tokenizer.apply_chat_template(**{"conversation": [USER], **options})


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ dict.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{% include 'x' %}",
    ],
)
def test_the_sandbox_holds(template: str) -> None:
    try:
        text = render(template)
    except InputError:
        return
    assert text == ""  # an undefined attribute prints nothing


def test_objects_become_placeholders_and_the_callers_messages_stay() -> None:
    class Image:
        def save(self) -> str:
            raise AssertionError("a template must not be able to call this")

    message = {"role": "user", "content": [{"type": "image", "image": Image()}, {"type": "text", "text": "x"}]}
    request = ChatRequest("{{ messages[0].content[0].image }} {{ messages[0].content[1].text }}")
    assert render_chat([message], request) == "<Image> x"
    request = ChatRequest("{{ messages[0].content[1].text }}", continue_final_message=True)
    with pytest.raises(InputError, match="does not use"):
        render_chat([message], ChatRequest("{{ messages }}", continue_final_message=True))
    assert render_chat([message], request) == "x"
    assert message["content"][1] == {"type": "text", "text": "x"}  # type: ignore[index]


def test_json_keeps_unicode_and_markup() -> None:
    assert render("{{ x | tojson }}", variables={"x": {"ä": "<&'>"}}) == '{"ä": "<&\'>"}'


def test_line_breaks_after_blocks_are_trimmed() -> None:
    assert render("  {% if true %}\nx\n  {% endif %}\ny") == "x\ny"
