"""Faults of our own, which no client can provoke: `execute` never raises, and nothing about the inside is told.

The modules that run inside of Triton meet a stand-in for Triton's Python API here, and a pipeline that breaks.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.triton.settings import GenerationSettings, Settings

INSIDE = [
    "tensors",
    "faults",
    "options",
    "batching",
    "text_tasks",
    "sampling",
    "classification",
    "generation",
    "metrics",
]
HIDDEN = "internal error; the server's log has the details"


@dataclass
class Tensor:
    label: str
    values: NDArray[Any]

    def name(self) -> str:
        return self.label

    def as_numpy(self) -> NDArray[Any]:
        return self.values


class TritonError(Exception):
    INVALID_ARG, INTERNAL, UNAVAILABLE = "INVALID_ARG", "INTERNAL", "UNAVAILABLE"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class InferenceResponse:
    tensors: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None


class Sender:
    """Collects what is sent; `final` is set with the last response."""

    def __init__(self) -> None:
        self.responses: list[InferenceResponse] = []
        self.final = threading.Event()

    def send(self, response: InferenceResponse, flags: int = 0) -> None:
        self.responses.append(response)
        if flags:
            self.final.set()

    def is_cancelled(self) -> bool:
        return False


@dataclass
class Request:
    tensors: dict[str, NDArray[Any]]
    sender: Sender = field(default_factory=Sender)

    def requested_output_names(self) -> list[str]:
        return ["label", "score", "json"]

    def get_response_sender(self) -> Sender:
        return self.sender


def text_request(name: str, *rows: bytes) -> Request:
    return Request({name: np.array([[row] for row in rows], dtype=np.object_)})


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Installs the stand-in; the server's error log."""
    lines: list[str] = []
    fake = ModuleType("triton_python_backend_utils")
    fake.__dict__.update(
        Tensor=Tensor,
        TritonError=TritonError,
        InferenceResponse=InferenceResponse,
        TRITONSERVER_RESPONSE_COMPLETE_FINAL=1,
        Logger=SimpleNamespace(log_error=lines.append, log_info=lines.append),
        get_input_tensor_by_name=lambda request, name: (
            Tensor(name, request.tensors[name]) if name in request.tensors else None
        ),
    )
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    for name in INSIDE:
        monkeypatch.delitem(sys.modules, f"runtime.triton.{name}", raising=False)
    yield lines
    for name in INSIDE:
        sys.modules.pop(f"runtime.triton.{name}", None)


class Panic(BaseException):
    """Like pyo3's PanicException: no Exception."""


def brittle_classifier(texts: Iterator[str], top_k: int | None, batch_size: int) -> list[list[dict[str, Any]]]:
    rows = list(texts)
    for row in rows:
        if row == "bug":
            raise RuntimeError("/srv/models/secret.py broke")
        if row == "panic":
            raise Panic("at /srv/rust.rs")
        if row == "long":
            raise InputError("the text has 600 tokens, the model takes 512")
    return [[{"label": row, "score": 1.0}] for row in rows]


def test_the_guilty_request_of_a_batch_fails_alone(log: list[str]) -> None:
    module = import_module("runtime.triton.classification")
    model = module.ClassificationModel(brittle_classifier, Settings())
    requests = [text_request("text", row) for row in (b"a", b"bug", b"b", b"long", b"panic", b"\xff", b"c")]
    responses = model.execute(requests)
    outcomes = [r.error.args[0] if r.error else r.tensors[0].values[0, 0].decode() for r in responses]
    assert outcomes == [
        "a",
        HIDDEN,
        "b",
        "the text has 600 tokens, the model takes 512",
        HIDDEN,
        "text[0] is not valid UTF-8: invalid start byte at byte 0",
        "c",
    ]
    codes = [response.error.code for response in responses if response.error]
    assert codes == ["INTERNAL", "INVALID_ARG", "INTERNAL", "INVALID_ARG"]
    assert sum("/srv/models/secret.py broke" in line for line in log) == 1, "the log has what the client has not"


def test_an_answer_that_cannot_be_written_fails_alone(log: list[str]) -> None:
    def odd(texts: Iterator[str], top_k: int | None, batch_size: int) -> list[list[dict[str, Any]]]:
        return [[{"label": "ok", "score": 1.0 if row != "odd" else object()}] for row in texts]

    model = import_module("runtime.triton.classification").ClassificationModel(odd, Settings())
    responses = model.execute([text_request("text", row) for row in (b"a", b"odd", b"b")])
    assert [response.error.args[0] if response.error else None for response in responses] == [None, HIDDEN, None]


class BrittleStream:
    finish_reason = "stop"
    num_input_tokens = num_output_tokens = 1

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.text = ""
        self.cancelled = False

    def __iter__(self) -> Any:
        self.text = "fine"
        yield "fine"
        if self.error:
            raise self.error

    def cancel(self) -> None:
        self.cancelled = True


class BrittleGenerator:
    """Streams that break in the middle when the prompt says so."""

    def __init__(self) -> None:
        self.streams: list[BrittleStream] = []

    def submit(self, text: str, **_: Any) -> BrittleStream:
        if text == "refused":
            raise InputError("the prompt has 600 tokens, the model's context holds 512: shorten it")
        errors = {"bug": RuntimeError("/srv/models/secret.py broke"), "panic": Panic("at /srv/rust.rs")}
        self.streams.append(BrittleStream(errors.get(text)))
        return self.streams[-1]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("prompt", ["bug", "panic"])
def test_a_stream_that_breaks_ends_with_an_error_and_frees_its_slot(log: list[str], prompt: str) -> None:
    pipe = BrittleGenerator()
    model = import_module("runtime.triton.generation").GenerationModel(pipe, GenerationSettings())
    request = text_request("text_input", prompt.encode())
    request.tensors["stream"] = np.array([[True]])
    assert model.execute([request]) is None
    assert request.sender.final.wait(10)
    first, last = request.sender.responses
    assert first.error is None
    assert last.error is not None
    assert last.error.args == (HIDDEN,)
    assert pipe.streams[-1].cancelled
    model.close()


def test_refusals_leave_room_for_the_next(log: list[str]) -> None:
    module = import_module("runtime.triton.generation")
    model = module.GenerationModel(BrittleGenerator(), GenerationSettings(max_pending_requests=1))
    for prompt, code in [(b"refused", "INVALID_ARG"), (b"bug", "INTERNAL"), (b"ok", None)]:
        request = text_request("text_input", prompt)
        model.execute([request])
        assert request.sender.final.wait(10)
        error = request.sender.responses[-1].error
        assert (error and error.code) == code
    model.close()
