"""What the engine does is on the metrics port, in Prometheus' words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from urllib.request import urlopen

import pytest

from runtime.triton.server import TritonServer
from tests.triton.wire import begin_stream, generate

pytestmark = pytest.mark.triton

MODEL = "gpt2-docs"


def metrics(server: TritonServer) -> dict[str, float]:
    """The model's own metrics by name, those by reason as `name:reason`."""
    text = urlopen(f"http://{server.address('metrics')}/metrics", timeout=30).read().decode()
    lines = re.findall(r"^(onward_\w+)\{(.*?)\} (\S+)$", text, flags=re.MULTILINE)
    found = {}
    for name, labels, value in lines:
        parts = dict(re.findall(r'(\w+)="(.*?)"', labels))
        if parts["model"] == MODEL and parts["version"] == "1":
            found[":".join([name, *([parts["reason"]] if "reason" in parts else [])])] = float(value)
    return found


def until(server: TritonServer, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The metrics once they say what is waited for; they follow the engine by half a second."""
    deadline = time.monotonic() + 20
    while not condition(found := metrics(server)):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_tokens_and_requests_are_counted(zoo: TritonServer) -> None:
    # Numbers of earlier tests are told within half a second.
    time.sleep(1.2)
    before = metrics(zoo)
    for _ in range(3):
        assert generate(zoo, MODEL, text_input="Return the", max_tokens=7)[0] == 200
    after = until(zoo, lambda now: now["onward_requests_total"] == before["onward_requests_total"] + 3)
    after = until(zoo, lambda now: now["onward_generated_tokens_total"] >= before["onward_generated_tokens_total"] + 21)
    assert after["onward_generated_tokens_total"] == before["onward_generated_tokens_total"] + 21
    assert after["onward_prompt_tokens_total"] > before["onward_prompt_tokens_total"]
    finished = "onward_finished_total:length"
    assert after[finished] == before.get(finished, 0) + 3


def test_slots_and_queue_are_shown_while_they_are_used(zoo: TritonServer) -> None:
    slots = int(until(zoo, lambda now: now["onward_slots"] > 0)["onward_slots"])
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(begin_stream(zoo, MODEL, text_input="def", max_tokens=250, stream=True))
        until(zoo, lambda now: now["onward_active_slots"] == slots and now["onward_waiting_requests"] > 0)
    until(zoo, lambda now: now["onward_active_slots"] == now["onward_waiting_requests"] == 0)


def test_prefixes_that_are_found_again_are_counted(zoo: TritonServer) -> None:
    prompt = "The os module provides a portable way of using operating system dependent functionality. " * 4
    time.sleep(1.2)
    before = metrics(zoo)
    for rest in ("It can", "It must"):
        assert generate(zoo, MODEL, text_input=prompt + rest, max_tokens=2)[0] == 200
    after = until(zoo, lambda now: now["onward_requests_total"] == before["onward_requests_total"] + 2)
    after = until(zoo, lambda now: now["onward_prefix_hits_total"] > before["onward_prefix_hits_total"])
    assert after["onward_reused_tokens_total"] >= before["onward_reused_tokens_total"] + 32
