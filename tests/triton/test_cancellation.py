"""Tasks that generate by Triton's own batches stop when nobody waits for their answers any more."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tritonclient.grpc

from runtime.client.connection import rows
from runtime.triton.server import TritonServer
from tests.triton.wire import generate

pytestmark = pytest.mark.triton


def text_input(value: str) -> list[tritonclient.grpc.InferInput]:
    """One text and the options of a long search."""
    tensors = []
    options = '{"num_beams": 8, "max_new_tokens": 1000000, "eos_token_id": -1}'
    for name, array in (("text", rows([value])), ("options", rows([options]))):
        tensors.append(tritonclient.grpc.InferInput(name, list(np.shape(array)), "BYTES"))
        tensors[-1].set_data_from_numpy(array)
    return tensors


def test_a_search_ends_once_all_of_its_clients_are_gone(zoo: TritonServer) -> None:
    before = zoo.log().count("a search was cancelled")
    with tritonclient.grpc.InferenceServerClient(zoo.address("grpc")) as client:
        for _ in range(10):
            calls = [client.async_infer("writer", text_input(f"text {n}"), lambda *_: None) for n in range(3)]
            time.sleep(0.05)
            for call in calls:
                call.cancel()
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                if zoo.log().count("a search was cancelled") > before:
                    assert generate(zoo, "writer", text="again", max_new_tokens=2)[0] == 200
                    return
                time.sleep(0.05)
    raise AssertionError("no search was cancelled")
