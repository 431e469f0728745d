"""A real Triton under load and fault: wrong requests among good ones, clients that vanish, a server that stops.

The same script with more requests: `python -m benchmarks.triton_load`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.triton_load import Load
from runtime import pipeline
from runtime.errors import CapacityError, OnwardError
from runtime.triton.errors import ServerError
from runtime.triton.server import TritonServer
from tests.conftest import CAUSAL_LM
from tests.triton.test_metrics import metrics, until
from tests.triton.test_server import processes_of
from tests.triton.wire import generate

pytestmark = pytest.mark.triton

STREAMS = 24


def test_good_requests_are_answered_and_bad_ones_told_why(zoo: TritonServer) -> None:
    report = Load(zoo, requests=500, clients=16).run()
    assert report.faults == []
    assert report.good > 250 and report.bad > 100
    assert len(report.refusals) > 12
    # Five thousand requests are measured by hand; in so few the allocators have hardly settled.
    assert report.growth() < 0.1


def test_random_streams_together_are_what_they_are_alone(zoo: TritonServer) -> None:
    """24 clients over 8 slots, by both protocols, each with a seed and settings of its own."""
    addresses = [f"triton://{zoo.address('grpc')}/{CAUSAL_LM}", f"triton+http://{zoo.address('http')}/{CAUSAL_LM}"]
    pipes = [pipeline("text-generation", address) for address in addresses]
    prompts = ["Return the", "def", "The os module provides", "Raises ValueError if"]

    def write(index: int) -> tuple[str, Any]:
        options = {"temperature": 0.7 + index / 20, "top_p": 0.95, "top_k": 40 + index, "seed": index}
        stream = pipes[index % 2].submit(prompts[index % 4], max_new_tokens=12 + index, do_sample=True, **options)
        return "".join(stream), stream.finish_reason

    alone = [write(index) for index in range(STREAMS)]
    with ThreadPoolExecutor(STREAMS) as pool:
        assert list(pool.map(write, range(STREAMS))) == alone
    assert len({text for text, _ in alone}) > STREAMS // 2


def test_a_client_that_is_killed_frees_its_slots(zoo: TritonServer) -> None:
    time.sleep(1.2)  # numbers of earlier tests are told within half a second
    before = metrics(zoo)
    program = (
        "import sys\nfrom runtime import pipeline\n"
        f"pipe = pipeline('text-generation', 'triton://{zoo.address('grpc')}/{CAUSAL_LM}')\n"
        "streams = [pipe.submit('def', max_new_tokens=250, do_sample=False) for _ in range(100)]\n"
        "next(streams[0]); print('begun', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None and client.stdout.readline() == b"begun\n"
        os.kill(client.pid, signal.SIGKILL)
    reason = "onward_finished_total:cancelled"
    until(zoo, lambda now: now.get(reason, 0) > before.get(reason, 0) and now["onward_active_slots"] == 0)
    assert generate(zoo, CAUSAL_LM, text_input="def", max_tokens=2)[0] == 200


@pytest.fixture
def narrow(causal_lm_bundle: Path, server_python: Path, tmp_path: Path) -> Iterator[TritonServer]:
    """One slot, and one that waits for it."""
    shutil.copytree(causal_lm_bundle, tmp_path / CAUSAL_LM)
    with (tmp_path / CAUSAL_LM / "config.pbtxt").open("a") as config:
        for key, value in {"slots": "1", "max_pending_requests": "2"}.items():
            config.write(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n')
    with TritonServer() as server:
        server.start(tmp_path, python=server_python)
        server.wait_ready(timeout=120)
        yield server


def test_out_of_slots_it_queues_then_refuses_and_a_stop_ends_what_runs(narrow: TritonServer, tmp_path: Path) -> None:
    for scheme, protocol in (("triton", "grpc"), ("triton+http", "http")):
        address = f"{scheme}://{narrow.address(protocol)}/{CAUSAL_LM}"
        pipe = pipeline("text-generation", address, max_new_tokens=250, do_sample=False, retries=0)
        outcomes = [drained(stream) for stream in [submitted(pipe) for _ in range(16)]]
        refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert 0 < len(refused) <= 14
        assert {type(error) for error in refused} == {CapacityError}
        assert all("the server is busy: 2 requests are running or waiting; try again" in str(e) for e in refused)
        assert len({outcome for outcome in outcomes if isinstance(outcome, str)}) == 1
        # Clients that are patient get their turn.
        patient = pipeline("text-generation", address, max_new_tokens=20, do_sample=False, retries=50)
        with ThreadPoolExecutor(8) as pool:
            assert len({str(answer) for answer in pool.map(patient, ["import"] * 8)}) == 1
    check_stop(narrow, tmp_path)


def submitted(pipe: Any) -> Any:
    """A stream, or why there is none."""
    try:
        return pipe.submit("def")
    except OnwardError as error:
        return error


def drained(stream: Any) -> str | OnwardError:
    """What a stream says, or why it does not."""
    if isinstance(stream, OnwardError):
        return stream
    try:
        return "".join(stream)
    except OnwardError as error:
        return error


def check_stop(server: TritonServer, repository: Path) -> None:
    """Requests under way end with an error or an answer, never hang; nothing is left of the server."""
    pipes = [
        pipeline("text-generation", f"{scheme}://{server.address(protocol)}/{CAUSAL_LM}", retries=0)
        for scheme, protocol in (("triton", "grpc"), ("triton+http", "http"))
    ]
    streams = [pipe.submit("def", max_new_tokens=250, do_sample=False) for pipe in pipes]
    outcomes: list[Any] = []
    threads = [threading.Thread(target=lambda one: outcomes.append(drained(one)), args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    begun = time.monotonic()
    server.stop()
    for thread in threads:
        thread.join(30)
    assert time.monotonic() - begun < 20
    assert len(outcomes) == 2
    assert all(isinstance(outcome, str | ServerError | CapacityError) for outcome in outcomes)
    assert processes_of(str(repository)) == []
