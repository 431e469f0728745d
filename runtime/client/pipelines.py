"""The local pipelines' calling conventions over a served model: `remote_class(cls)` keeps how `cls` takes lists,
generators, chats and keywords, and how it nests its answers; the three steps in between happen on the server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from runtime.client.answers import ELSEWHERE, JSON, READERS
from runtime.client.connection import Responses, Transport
from runtime.client.items import item_tensors, make_item, to_json
from runtime.errors import InputError
from runtime.pipelines.base import Alone, Pipeline, batches, check_batch_size, name_item
from runtime.pipelines.chat import Chat, as_chat

HERE_ONLY = "preprocess, forward and postprocess happen on the server: call the pipeline, or open the bundle itself"


class RemotePipeline(Pipeline):
    """What replaces a local pipeline's bundle, session and steps.

    `batch_size` items make one request (at most the model's max_batch_size).
    """

    KEEPS_PADDING = False

    def __init__(
        self,
        transport: Transport,
        facts: dict[str, Any],
        task: str,
        sent_task: str | None = None,
        batch_size: int = 1,
        num_workers: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.task = task
        self.provider = "triton"
        self.threads = None
        self.batch_size = check_batch_size(batch_size)
        self.transport = transport
        self.manifest = SimpleNamespace(task=task, labels=[], architecture="", postprocess=facts["parameters"])  # type: ignore[assignment]
        self._most_rows = max(1, int(facts["max_batch_size"]))
        # A task other than the model's own, which its bundle does as well.
        self._sent_task = {"task": sent_task} if sent_task else {}
        self._defaults = self._sanitize_parameters(**kwargs)

    def preprocess(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Not here."""
        raise InputError(HERE_ONLY)

    def forward(self, model_inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Not here."""
        raise InputError(HERE_ONLY)

    def postprocess(self, model_outputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Not here."""
        raise InputError(HERE_ONLY)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def _sanitize_parameters(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The server knows what the task takes: arguments go there as they are."""
        return kwargs, {}, {}

    def _parameters(self, kwargs: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**self._defaults[0], **kwargs}, {}, {}]

    def _run(self, items: Iterable[Any], batch_size: int, parameters: list[dict[str, Any]]) -> Iterator[Any]:
        arguments, task = parameters[0], type(self).task
        if self.KEEPS_PADDING and batch_size > self._most_rows:
            raise InputError(
                f"batch_size is {batch_size}, the server takes {self._most_rows}: its padding would differ"
            )
        for start, batch in batches(items, min(batch_size, self._most_rows)):
            known = {"task": task, "arguments": arguments}
            made = [name_item(start + row, items, make_item, item, known) for row, item in enumerate(batch)]
            place: dict[str, Any] = {} if isinstance(items, Alone) else {"item": start}
            if self.KEEPS_PADDING and len(made) > 1:
                place["keep_padding"] = True
            yield from self._ask(made, arguments, place)

    def _ask(self, made: list[Any], arguments: dict[str, Any], place: dict[str, Any]) -> list[Any]:
        """The answers to one request."""
        outputs, read = (ELSEWHERE if self._sent_task else READERS).get(type(self).task, JSON)
        return read(
            self.transport.infer(item_tensors(made, {**arguments, **self._sent_task, **place}), outputs), arguments
        )


class RemoteGeneration(RemotePipeline):
    """text-generation: one request for each prompt, `batch_size` of them at the same time."""

    def submit(self, text: Any, **kwargs: Any) -> RemoteStream:
        """Start generating on the server; iterate over the answer for pieces of new text. Thread-safe.

        Returns once the server has taken the request; raises what the local pipeline raises here.
        """
        inputs = prompt_inputs(text, {**self._parameters(kwargs)[0], "acknowledge": True})
        counts = {"return_num_input_tokens": True, "return_num_output_tokens": True}
        stream = RemoteStream(self.transport.generate({**inputs, "stream": True, **counts}))
        stream.begin()
        return stream

    def _run(self, items: Iterable[Any], batch_size: int, parameters: list[dict[str, Any]]) -> Iterator[Any]:
        known = {"arguments": parameters[0]}
        with ThreadPoolExecutor(batch_size) as pool:
            for start, batch in batches(items, batch_size):
                made = [name_item(start + row, items, prompt_inputs, item, known) for row, item in enumerate(batch)]
                yield from [future.result() for future in [pool.submit(self._generate, inputs) for inputs in made]]

    def _generate(self, inputs: dict[str, Any]) -> Any:
        (answer,) = list(self.transport.generate(inputs))
        return json.loads(answer["json"])


class RemoteStream:
    """A `TextStream` from a server: pieces of text, then `text`, `finish_reason` and the counts."""

    def __init__(self, responses: Responses) -> None:
        self.text = ""
        self.finish_reason: str | None = None
        self.num_input_tokens = 0
        self.num_output_tokens = 0
        self._responses = responses
        self._events = iter(responses)
        self._pieces = self._read()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    def begin(self) -> None:
        """Wait for the response that says that the request is under way. Raises `OnwardError` if it is refused."""
        next(self._events, None)

    def cancel(self) -> None:
        """Hang up: the server frees the slot."""
        self.finish_reason = self.finish_reason or "cancelled"
        self._responses.cancel()

    def _read(self) -> Iterator[str]:
        for event in self._events:
            piece = event.get("text_output", "")
            self.text += piece
            if "finish_reason" in event:
                self.finish_reason = event["finish_reason"]
                self.num_input_tokens = event["num_input_tokens"]
                self.num_output_tokens = event["num_output_tokens"]
            if piece:
                yield piece


def prompt_inputs(prompt: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a prompt or chat, and of the arguments."""
    prompt = as_chat(prompt)
    if isinstance(prompt, Chat):
        return {"messages": to_json(prompt.messages), "options": to_json(arguments)}
    if not isinstance(prompt, str):
        raise InputError(f"text-generation takes a text or a chat, not {type(prompt).__name__}")
    return {"text_input": prompt, "options": to_json(arguments)}


def remote_class(local: type[Pipeline]) -> type[RemotePipeline]:
    """A remote pipeline with the calling conventions of a local one."""
    base = RemoteGeneration if local.task == "text-generation" else RemotePipeline
    keeps_padding = getattr(local, "KEEPS_PADDING", False)
    return type(f"Remote{local.__name__}", (base, local), {"task": local.task, "KEEPS_PADDING": keeps_padding})
