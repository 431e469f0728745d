"""The request tensors of text-generation, read into the names of HF's GenerationConfig.

The wire names are those of TensorRT-LLM's models. Sampling happens only when asked for: without `temperature`, `top_p`
and `top_k`, or with temperature 0, decoding is greedy. `messages` (a chat as JSON) and `tools` stand for a prompt: the
model's own template is applied to them here. With `options` a request is a call of the pipeline, defaults included; in
it "acknowledge" is none of its arguments: a stream then begins with a response that says that nothing is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.errors import InputError
from runtime.pipelines.chat import is_chat
from runtime.triton.options import read_json, read_options
from runtime.triton.tensors import scalar, texts

Prompt = str | list[dict[str, Any]]  # a text or a chat


@dataclass(frozen=True)
class Option:
    """A number on the wire: its GenerationConfig name and what it may be."""

    keyword: str
    allowed: Callable[[Any], bool]
    rule: str


OPTIONS = {
    "max_tokens": Option("max_new_tokens", lambda n: n >= 1, "1 or more"),
    "temperature": Option("temperature", lambda t: t >= 0, "0 (greedy) or more"),
    "top_p": Option("top_p", lambda p: 0 < p <= 1, "above 0 and at most 1"),
    "top_k": Option("top_k", lambda k: k >= 0, "0 (off) or more"),
    "repetition_penalty": Option("repetition_penalty", lambda r: r > 0, "above 0"),
    "seed": Option("seed", lambda _: True, "a number"),
}
_SAMPLING = ("temperature", "top_p", "top_k")
# Triton's OpenAI frontend sends these with every request. HF's generate has no such thing, so only "off" can be served.
_UNSUPPORTED = ("frequency_penalty", "presence_penalty")
# A checkpoint's own defaults may ask for beams, which cannot be streamed.
_ONE_SEQUENCE = {"num_beams": 1, "num_return_sequences": 1}


@dataclass(frozen=True)
class GenerationRequest:
    """One request, read."""

    prompt: Prompt
    keywords: dict[str, Any]  # of the pipeline's call
    as_pipeline: bool  # whether `json` is asked for: what the pipeline would answer
    stream: bool
    echo: bool  # whether text_output begins with the prompt
    count_input: bool
    count_output: bool
    acknowledge: bool = False  # whether a stream begins with a response without text, once the request is under way


def read_request(request: Any, max_bytes: int) -> GenerationRequest:
    """A request's tensors. Raises `InputError` that names the tensor."""
    stream = bool(scalar(request, "stream"))
    exclude = scalar(request, "exclude_input_in_output")
    prompt = _prompt(request, max_bytes)
    options = read_options(request, max_bytes)
    acknowledge = bool((options or {}).pop("acknowledge", False))
    tools = read_json(request, "tools", max_bytes)
    # Like HF's pipeline and Triton's LLM backends: a whole answer repeats the prompt, a stream or a chat does not.
    silent = stream or not isinstance(prompt, str)
    return GenerationRequest(
        prompt=prompt,
        keywords={
            **(options or {}),
            **_sampling(request, default={} if options is not None else {**_ONE_SEQUENCE, "do_sample": False}),
            **_stop_strings(request, max_bytes),
            **({} if tools is None else {"tools": tools}),
        },
        as_pipeline=options is not None and not stream,
        stream=stream,
        echo=not (silent if exclude is None else exclude),
        count_input=bool(scalar(request, "return_num_input_tokens")),
        count_output=bool(scalar(request, "return_num_output_tokens")),
        acknowledge=stream and acknowledge,
    )


def _prompt(request: Any, max_bytes: int) -> Prompt:
    messages = read_json(request, "messages", max_bytes)
    text = texts(request, "text_input", max_bytes)
    if messages is None:
        if not text:
            raise InputError("text_input is missing or empty: give a text, or messages")
        return text[0]
    if text and text[0]:
        raise InputError("text_input and messages exclude each other: give one of them")
    if not isinstance(messages, list) or not is_chat(messages):
        raise InputError('messages must be a JSON list such as [{"role": "user", "content": "Hi"}]')
    return messages


def _sampling(request: Any, default: dict[str, Any]) -> dict[str, Any]:
    """Those that are given, over `default`; a temperature, top_p or top_k switches sampling on."""
    for name in _UNSUPPORTED:
        if scalar(request, name):
            raise InputError(f"{name} is not supported; leave it at 0 and use repetition_penalty")
    given = {name: value for name in OPTIONS if (value := _option(request, name)) is not None}
    asked = any(name in given for name in _SAMPLING)
    do_sample = asked and given.get("temperature") != 0
    chosen = {"do_sample": do_sample} if asked else {}
    # With `options` it may sample all the same, and needs its seed.
    dropped = () if do_sample else _SAMPLING if not default else (*_SAMPLING, "seed")
    used = {OPTIONS[name].keyword: value for name, value in given.items() if name not in dropped}
    return {**default, **chosen, **used}


def _option(request: Any, name: str) -> Any:
    value = scalar(request, name)
    if value is not None and not OPTIONS[name].allowed(value):
        raise InputError(f"{name} is {value}; it must be {OPTIONS[name].rule}")
    return value


def _stop_strings(request: Any, max_bytes: int) -> dict[str, list[str]]:
    # TensorRT-LLM's clients send [""] for "no stop words".
    words = [word for word in texts(request, "stop_words", max_bytes) or [] if word]
    return {"stop_strings": words} if words else {}
