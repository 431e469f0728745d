"""text-generation (transformers 5.23 `pipelines/text_generation.py`).

Generation itself is the engine's: prompts of different lengths share steps without padding. `batch_size` says how many
prompts are generated at the same time.

Differences from HF, on purpose: a sequence that reaches the model's context ends there (finish reason "length") where
HF runs into an index error; and no answer holds padding, where HF fills up the shorter ones of a batch or of
`num_return_sequences` (seen with `return_tensors=True` or `skip_special_tokens=False`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.generation.config import GenerationConfig, resolve
from runtime.generation.model import DEFAULT_SLOTS, LanguageModel, as_ids, open_runner
from runtime.generation.stream import TextStream
from runtime.pipelines.base import Pipeline, check_tokenizer_arguments
from runtime.pipelines.chat import Chat, as_chat, find_chats
from runtime.pipelines.raw_text import raw_decoder
from runtime.pipelines.token_logprobs import logprob_extras, logprobs_of
from runtime.tokenizer import DecodeStream, Tokenizer

TOKENIZER_ARGUMENTS = ("add_special_tokens", "padding", "truncation")
RETURN_TYPES = ("tensors", "new_text", "full_text")  # in the order of HF's enum


class TextGenerationPipeline(Pipeline):
    """Continues texts or chats.

    `pipe("Hello", max_new_tokens=20, do_sample=False)` -> `[{"generated_text": "Hello ..."}]`; a list of prompts gives
    a list of such lists; a chat (`[{"role": "user", "content": "Hi"}]`) gives the messages with the answer appended.
    As in HF the default samples (temperature 0.7, 256 new tokens) unless the checkpoint says otherwise.

    slots: sequences under way at the same time; max_length_limit: tokens that one may hold (the model's context by
    default). Both bound the memory for keys and values.
    """

    task = "text-generation"

    def __init__(
        self,
        *args: Any,
        slots: int = DEFAULT_SLOTS,
        max_length_limit: int | None = None,
        **kw: Any,
    ) -> None:
        self._slots = slots
        self._max_length_limit = max_length_limit
        super().__init__(*args, **kw)

    def __call__(self, text_inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # HF's name here
        if isinstance(text_inputs, (list, tuple)) and not text_inputs:
            raise InputError("text-generation needs at least one prompt, the list is empty")
        return super().__call__(find_chats(text_inputs), **kwargs)

    def submit(self, text: Any, **kwargs: Any) -> TextStream:
        """Start generating in the background; iterate over the answer for pieces of new text. Thread-safe."""
        pre, forward, post = self._parameters(kwargs)
        inputs = self.preprocess(text, **pre)
        config = self._config(**forward)
        if config.num_beams > 1 or config.num_return_sequences > 1:
            raise InputError("streaming gives one sequence: num_beams and num_return_sequences must be 1")
        prompt = self._prompt(as_ids(inputs["input_ids"]), config)
        sequence = self.model.request(prompt, config, self._decode_raw)
        self.model.engine.submit(sequence)
        self.model.engine.start()
        return TextStream(sequence, DecodeStream(self.tokenizer, post.get("skip_special_tokens", True)))

    def preprocess(
        self,
        inputs: Any,
        prefix: str = "",
        handle_long_generation: str | None = None,
        continue_final_message: bool | None = None,
        tokenizer_encode_kwargs: dict[str, Any] | None = None,
        tools: Any = None,
        documents: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Tokenise a prompt or render and tokenise a chat: `input_ids` int64 `[1, tokens]`, and the prompt itself."""
        inputs = as_chat(inputs)
        names = (*TOKENIZER_ARGUMENTS, "max_length")
        options = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        options |= tokenizer_encode_kwargs or {}
        if isinstance(inputs, Chat):
            options.pop("add_special_tokens", None)
            ids = self._chat_ids(inputs, continue_final_message, tools, documents, options)
        elif isinstance(inputs, str):
            check_tokenizer_arguments(options)
            ids = self.tokenizer(prefix + inputs, **options)["input_ids"]
        else:
            raise InputError(f"text-generation takes a text or a chat, not {type(inputs).__name__}")
        if handle_long_generation == "hole":
            ids = self._leave_hole(ids, kwargs)
        return {"input_ids": as_ids(ids)[None], "prompt_text": inputs}

    def forward(self, model_inputs: dict[str, Any], prefix_length: int = 0, **kwargs: Any) -> dict[str, Any]:
        """Generate: `generated_sequence` is a list of `num_return_sequences` lists of ids, prompt included."""
        return self._forward_batch([model_inputs], prefix_length=prefix_length, **kwargs)[0]

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        return_type: str = "full_text",
        clean_up_tokenization_spaces: bool | None = None,
        continue_final_message: bool | None = None,
        skip_special_tokens: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Ids -> `[{"generated_text"}]`, or `[{"generated_token_ids"}]` with `return_tensors=True`.

        With `logprobs=` each record also has "logprobs": see `runtime.pipelines.token_logprobs`.
        """
        prompt, prompt_length = model_outputs["prompt_text"], model_outputs["prompt_length"]
        records: list[dict[str, Any]] = []
        sequences = model_outputs["generated_sequence"]
        for ids, extra in zip(sequences, logprob_extras(self.tokenizer, model_outputs, len(sequences)), strict=True):
            if return_type == "tensors":
                records.append({"generated_token_ids": ids, **extra})
                continue
            text = self.tokenizer.decode(
                ids[prompt_length:],
                skip_special_tokens=skip_special_tokens is not False,
                clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            )
            full = full_text(prompt, text, continue_final_message) if return_type == "full_text" else text
            records.append({"generated_text": full, **extra})
        return records

    def close(self) -> None:
        """Stop the engine's thread; streams still under way end as "cancelled"."""
        self.model.close()

    def _load(self) -> None:
        self.tokenizer = Tokenizer.from_bundle(self.bundle)
        self._decode_raw = raw_decoder(self.tokenizer)
        self.model = LanguageModel(
            open_runner(self.bundle, self.provider, self.threads, self._slots, self._max_length_limit, self.spinning)
        )

    def _sanitize_parameters(
        self,
        return_full_text: bool | None = None,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        return_type: Any = None,
        clean_up_tokenization_spaces: bool | None = None,
        prefix: str | None = None,
        handle_long_generation: str | None = None,
        stop_sequence: str | list[str] | None = None,
        continue_final_message: bool | None = None,
        skip_special_tokens: bool | None = None,
        tokenizer_encode_kwargs: dict[str, Any] | None = None,
        tools: Any = None,
        documents: Any = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if handle_long_generation not in (None, "hole"):
            raise InputError(f"handle_long_generation is None or 'hole', not {handle_long_generation!r}")
        post = {
            "return_type": choose_return_type(return_full_text, return_tensors, return_text, return_type),
            "clean_up_tokenization_spaces": clean_up_tokenization_spaces,
            "continue_final_message": continue_final_message,
            "skip_special_tokens": skip_special_tokens,
        }
        pre = {
            "prefix": prefix,
            "handle_long_generation": handle_long_generation,
            "continue_final_message": continue_final_message,
            "tokenizer_encode_kwargs": tokenizer_encode_kwargs,
            "tools": tools,
            "documents": documents,
            **generate_kwargs,
        }
        forward = {key: value for key, value in generate_kwargs.items() if key not in TOKENIZER_ARGUMENTS}
        if stop_sequence is not None:
            forward["stop_strings"] = [stop_sequence] if isinstance(stop_sequence, str) else stop_sequence
        if prefix:
            special = bool(generate_kwargs.get("add_special_tokens", False))
            forward["prefix_length"] = len(self.tokenizer(prefix, add_special_tokens=special)["input_ids"])
        return given(pre), forward, given(post)

    def _forward_batch(
        self, items: list[dict[str, Any]], prefix_length: int = 0, **kwargs: Any
    ) -> list[dict[str, Any]]:
        config = self._config(prefix_length, **kwargs)
        prompts = [self._prompt(as_ids(item["input_ids"]), config) for item in items]
        groups = self.model.generate(prompts, config, self._decode_raw)
        return [
            {
                **logprobs_of(group, config),
                "generated_sequence": [sequence.ids for sequence in group],
                "finish_reasons": [sequence.finish_reason for sequence in group],
                # An empty prompt is started with the bos token, which then counts as generated, as in HF.
                "prompt_length": as_ids(item["input_ids"]).size,
                "prompt_text": item.get("prompt_text"),
            }
            for item, group in zip(items, groups, strict=True)
        ]

    def _config(self, prefix_length: int = 0, **kwargs: Any) -> GenerationConfig:
        config = resolve(self.manifest.generation, **kwargs)
        if not prefix_length:
            return config
        # A total length, as opposed to a number of new tokens, has to include the prefix.
        longer: dict[str, Any] = {}
        if config.max_length is not None and config.max_new_tokens is None:
            longer["max_length"] = config.max_length + prefix_length
        if config.min_length and config.min_new_tokens is None:
            longer["min_length"] = config.min_length + prefix_length
        return resolve(self.manifest.generation, **{**kwargs, **longer}) if longer else config

    def _prompt(self, ids: np.ndarray, config: GenerationConfig) -> np.ndarray:
        if ids.size or config.bos_token_id is None:
            return ids
        return as_ids([config.bos_token_id])

    def _chat_ids(
        self, chat: Chat, continue_final_message: bool | None, tools: Any, documents: Any, options: dict[str, Any]
    ) -> list[int]:
        if continue_final_message is None:
            continue_final_message = chat.messages[-1].get("role") == "assistant"
        ids: list[int] = self.tokenizer.apply_chat_template(
            chat.messages,
            tools=tools,
            documents=documents,
            add_generation_prompt=not continue_final_message,
            continue_final_message=continue_final_message,
            tokenize=True,
            return_dict=False,
            **options,
        )
        return ids

    def _leave_hole(self, ids: list[int], kwargs: dict[str, Any]) -> list[int]:
        """HF's "hole": cut the prompt's left so that the new tokens fit into the model's length."""
        generation = {key: value for key, value in kwargs.items() if key not in TOKENIZER_ARGUMENTS}
        config = resolve(self.manifest.generation, **generation)
        limit = min(self.tokenizer.model_max_length or self.model.runner.max_length, self.model.runner.max_length)
        new_tokens = config.max_total_length(len(ids)) - len(ids)
        keep = int(limit) - new_tokens
        if len(ids) + new_tokens <= limit:
            return ids
        if keep <= 0:
            raise InputError(f"{new_tokens} new tokens leave no room for a prompt in a context of {limit}")
        return ids[-keep:]


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given."""
    return {key: value for key, value in arguments.items() if value is not None}


def choose_return_type(full: bool | None, tensors: bool | None, text: bool | None, chosen: Any) -> str | None:
    """HF's rules for `return_full_text`, `return_tensors`, `return_text`: they exclude each other."""
    if chosen is not None:
        return return_type_name(chosen)
    if full is not None and text is not None:
        raise InputError("`return_text` is mutually exclusive with `return_full_text`")
    if full is not None and tensors is not None:
        raise InputError("`return_full_text` is mutually exclusive with `return_tensors`")
    if full is not None:
        return "full_text" if full else "new_text"
    if tensors is not None and text is not None:
        raise InputError("`return_text` is mutually exclusive with `return_tensors`")
    return "tensors" if tensors is not None else None


def return_type_name(chosen: Any) -> str:
    """One of `RETURN_TYPES`: by name in any case, by HF's number, or from HF's `ReturnType` itself."""
    name = RETURN_TYPES[chosen] if chosen in range(len(RETURN_TYPES)) else str(getattr(chosen, "name", chosen)).lower()
    if name not in RETURN_TYPES:
        raise InputError(f"return_type {chosen!r} is unknown: use one of {', '.join(RETURN_TYPES)}")
    return name


def full_text(prompt: Any, text: str, continue_final_message: bool | None) -> Any:
    """The prompt with the new text: a string, or the chat with the answer in or after its last message."""
    if not isinstance(prompt, Chat):
        return prompt + text
    last = prompt.messages[-1]
    if continue_final_message is None:
        continue_final_message = last["role"] == "assistant"
    if continue_final_message:
        return [*prompt.messages[:-1], {**last, "content": last["content"] + text}]
    return [*prompt.messages, {"role": "assistant", "content": text}]
