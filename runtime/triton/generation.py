"""text-generation under Triton: a decoupled model. Requests go to the engine at once, which batches them by itself.

Tensors are described in `runtime.triton.sampling`. With `stream` a response follows for every piece of text, and a last
one without text that has `finish_reason` and the token counts that were asked for; else there is one response.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from runtime.triton.cancellation import CancellationWatch, while_wanted
from runtime.triton.faults import busy, failure
from runtime.triton.sampling import GenerationRequest, read_request
from runtime.triton.settings import GenerationSettings
from runtime.triton.tensors import strings

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class GenerationModel:
    """Hands requests to a text-generation pipeline's engine and sends its text on."""

    def __init__(self, pipe: Any, settings: GenerationSettings) -> None:
        self._pipe = pipe
        self._settings = settings
        # One waiting thread per request; it costs nothing but its stack while the engine works.
        self._pool = ThreadPoolExecutor(settings.max_pending_requests, thread_name_prefix="request")
        self._free = threading.BoundedSemaphore(settings.max_pending_requests)
        self._watch = CancellationWatch()
        for _ in pipe.submit("warm up", max_new_tokens=2, do_sample=False):
            pass

    def execute(self, requests: list[Any]) -> None:
        """Take the requests in and return; the answers follow from threads."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._admit(read_request(request, self._settings.max_text_bytes), sender)
            except BaseException as error:
                sender.send(failure(error), flags=_FINAL)

    def statistics(self) -> Any:
        """What the engine has done, for the metrics."""
        return self._pipe.model.engine.statistics()

    def close(self) -> None:
        """Stop the engine and wait for the threads; Triton unloads a model when no request runs any more."""
        self._pipe.close()
        self._pool.shutdown()
        self._watch.close()

    def _admit(self, request: GenerationRequest, sender: Any) -> None:
        if self._free.acquire(blocking=False):
            self._pool.submit(self._serve, request, sender)
        else:
            sender.send(busy(self._settings.max_pending_requests), flags=_FINAL)

    def _serve(self, request: GenerationRequest, sender: Any) -> None:
        try:
            final = self._generate(request, sender)
        except BaseException as error:  # a panic of the tokenizers library is no Exception
            final = failure(error)
        finally:
            self._free.release()
        try:
            sender.send(final, flags=_FINAL)
        except Exception as error:
            pb_utils.Logger.log_error(f"a last response could not be sent: {error}")

    def _generate(self, request: GenerationRequest, sender: Any) -> Any:
        """Run one request, send its pieces if it streams, and return its last response."""
        if request.as_pipeline and self._is_several(request):
            return _response(None, [_json(self._search(request, sender))])
        stream = self._pipe.submit(request.prompt, **request.keywords)
        watched = self._watch.add(sender, stream.cancel)
        try:
            if request.acknowledge:
                sender.send(_response(""))
            _send_pieces(request, stream, sender)
        except BaseException:
            stream.cancel()
            raise
        finally:
            self._watch.remove(watched)
        if stream.finish_reason == "cancelled":
            pb_utils.Logger.log_info(f"a request was cancelled after {stream.num_output_tokens} new tokens")
        extra = [_json(self._answer(request, stream))] if request.as_pipeline else []
        return _last_response(request, stream, extra)

    def _search(self, request: GenerationRequest, sender: Any) -> Any:
        """Beams and several sequences, by the request's own thread, which drives the engine."""
        with while_wanted(self._watch, [sender]):
            return self._pipe(request.prompt, **request.keywords)

    def _is_several(self, request: GenerationRequest) -> bool:
        _, forward, _ = self._pipe._parameters(request.keywords)
        config = self._pipe._config(**forward)
        return bool(config.num_beams > 1 or config.num_return_sequences > 1)

    def _answer(self, request: GenerationRequest, stream: Any) -> Any:
        """What the pipeline would have answered."""
        pre, _, post = self._pipe._parameters(request.keywords)
        inputs = self._pipe.preprocess(request.prompt, **pre)
        outputs = {
            "generated_sequence": [stream.sequence.ids],
            "prompt_length": inputs["input_ids"].size,
            "prompt_text": inputs["prompt_text"],
        }
        return self._pipe.postprocess(outputs, **post)


def _send_pieces(request: GenerationRequest, stream: Any, sender: Any) -> None:
    """Drain the stream; its pieces are sent only if the request streams."""
    if request.stream and request.echo and isinstance(request.prompt, str):
        sender.send(_response(request.prompt))
    for piece in stream:
        if request.stream and piece:
            sender.send(_response(piece))


def _last_response(request: GenerationRequest, stream: Any, extra: list[Any]) -> Any:
    prompt = request.prompt if request.echo and isinstance(request.prompt, str) else ""
    text = "" if request.stream else prompt + stream.text
    extra.append(strings("finish_reason", [stream.finish_reason or ""], (1, 1)))
    if request.count_input:
        extra.append(_count("num_input_tokens", stream.num_input_tokens))
    if request.count_output:
        extra.append(_count("num_output_tokens", stream.num_output_tokens))
    return _response(text, extra)


def _response(text: str | None, extra: list[Any] | None = None) -> Any:
    written = [] if text is None else [strings("text_output", [text], (1, 1))]
    return pb_utils.InferenceResponse([*written, *(extra or [])])


def _json(answer: Any) -> Any:
    return strings("json", [json.dumps(answer, ensure_ascii=False)], (1, 1))


def _count(name: str, value: int) -> Any:
    return pb_utils.Tensor(name, np.array([[value]], dtype=np.int32))
