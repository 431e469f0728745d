"""Chat templates: HF's `render_jinja_template` (transformers/utils/chat_template_utils.py) on jinja2 alone.

Templates come with checkpoints and are untrusted: they run in jinja2's sandbox and see plain JSON-like data only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import numpy as np
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from runtime.errors import InputError

# Marks where the message to continue ends. The trailing space tells whether the template trims its messages.
_CONTINUE_MARK = "CONTINUE_FINAL_MESSAGE_TAG "
# The names under which a message's reasoning travels; templates read the first.
_REASONING = ("reasoning_content", "thinking", "reasoning")


@dataclasses.dataclass(frozen=True)
class ChatRequest:
    """What a template is rendered with, apart from the messages. `variables`: special tokens and the caller's own."""

    template: str
    tools: Sequence[Mapping[str, Any]] | None = None
    documents: Sequence[Mapping[str, Any]] | None = None
    add_generation_prompt: bool = False
    continue_final_message: bool | str = False
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def render_chat(messages: Sequence[Any], request: ChatRequest) -> str:
    """The prompt for one conversation.

    Raises `InputError` for messages that are not dicts, for tools that are not JSON schemas, for a final message that
    cannot be continued, and with the template's own words when it refuses the conversation.
    """
    _check(request)
    chat = [_message(message) for message in messages]
    final = _mark_final(chat, request) if request.continue_final_message else None
    try:
        prompt = _compiled(request.template).render(
            messages=chat,
            tools=_plain(request.tools),
            documents=_plain(request.documents),
            add_generation_prompt=request.add_generation_prompt,
            **{key: _plain(value) for key, value in request.variables.items()},
        )
    except Exception as error:  # a template is somebody else's program: it can fail in any way
        raise InputError(f"the chat template cannot render these messages: {error}") from error
    return prompt if final is None else _cut_at_mark(prompt, final)


def _check(request: ChatRequest) -> None:
    if request.continue_final_message and request.add_generation_prompt:
        raise InputError("continue_final_message continues the last message and add_generation_prompt starts a new one")
    if any(not isinstance(tool, Mapping) for tool in request.tools or ()):
        raise InputError("tools must be JSON schemas (dicts): {'type': 'function', 'function': {...}}")
    if any(not isinstance(document, Mapping) for document in request.documents or ()):
        raise InputError("documents must be dicts with 'title' and 'text'")


def _message(message: Any) -> dict[str, Any]:
    plain = _plain(message)
    if not isinstance(plain, dict):
        raise InputError(f"a chat message must be a dict with 'role' and 'content', not {type(message).__name__}")
    # `content: None` next to tool calls is common, and templates print it as "None"; they do handle a missing key.
    plain = {key: value for key, value in plain.items() if value is not None}
    reasoning = next((plain[name] for name in _REASONING if name in plain), None)
    return plain if reasoning is None else {"thinking": reasoning, **plain, "reasoning_content": reasoning}


def _plain(value: Any) -> Any:
    """`value` rebuilt from plain Python types, so that a template gets no methods to call; else `<TypeName>`."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    for base in (str, int, float):  # subclasses such as enums
        if isinstance(value, base):
            return getattr(base, f"__{base.__name__}__")(value)
    return _plain_container(value)


def _plain_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value) if type(value) in (list, tuple) else [*map(_plain, value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)  # pydantic
    return _plain(dump()) if callable(dump) else f"<{type(value).__name__}>"


def _mark_final(chat: list[dict[str, Any]], request: ChatRequest) -> str:
    """Append the mark to the text of the last message and return that text without it."""
    field = request.continue_final_message if isinstance(request.continue_final_message, str) else "content"
    final = chat[-1].get(field) if chat else None
    if final is None:
        raise InputError(f"continue_final_message: the last message has no {field!r} to continue")
    fields = [field] if field not in _REASONING else [name for name in _REASONING if chat[-1].get(name) == final]
    if not any(name in request.template for name in fields):
        raise InputError(f"continue_final_message: this chat template does not use {field!r}")
    if isinstance(final, list | tuple):
        return _mark_last_text(final)
    for name in fields:
        chat[-1][name] = str(final) + _CONTINUE_MARK
    return str(final)


def _mark_last_text(blocks: Sequence[dict[str, Any]]) -> str:
    for block in reversed(blocks):
        if "text" in block:
            text = str(block["text"])
            block["text"] = text + _CONTINUE_MARK
            return text
    raise InputError("continue_final_message: the last message has no text to continue")


def _cut_at_mark(prompt: str, final: str) -> str:
    mark = _CONTINUE_MARK.strip()
    if final.strip() not in prompt or mark not in prompt:
        raise InputError("continue_final_message: the chat template drops or changes the last message")
    place = prompt.rindex(mark)
    kept = prompt[:place]
    # Without the mark's own space behind it the template has trimmed the message.
    return kept if prompt.startswith(_CONTINUE_MARK, place) else kept.rstrip()


@lru_cache(maxsize=32)
def _compiled(template: str) -> jinja2.Template:
    return _environment().from_string(template)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    """The environment templates are written for: HF's options, extensions, filters and globals."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=_strftime_now, dict=_DictFactory(), namespace=_SafeNamespace
    )
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own filter escapes HTML and non-ASCII characters, which would change the prompt.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


class _DictFactory:
    """`dict(...)` and `dict.fromkeys(...)` for templates, without the attributes of the type itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _SafeNamespace(Namespace):
    """jinja2's `namespace` that stores no names with a leading underscore, which could reach Python's internals."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # No named `self`, so that a template may write `namespace(self=...)`.
        attributes = dict(*args[1:], **kwargs)
        for name in attributes:
            _refuse_private(name)
        Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


def _refuse_private(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace in a chat template cannot hold {name!r}: rename it")


class _GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}` marks assistant text for training; here it only renders its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # A call block, as in HF: variables set inside stay inside.
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str] | Macro) -> str:
        return caller()
