"""Load on a real Triton, good requests mixed with malformed ones: `python -m benchmarks.triton_load REPOSITORY`.

Every good request must get the answer it gets alone, every bad one its own one-line error, and the server's memory must
stay where it is. Requests go to the loopback interface only and are bounded in number. The repository has to hold the
models of `GOOD`; `tests/triton` makes such a one.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime.client.address import parse_address
from runtime.client.connection import Arrays, Connection, Transport, rows
from runtime.client.open import connect
from runtime.errors import OnwardError
from runtime.triton.server import TritonServer

# Answers of a batch differ from those of single requests by the order of float additions.
TOLERANCE = 5e-5
BAD_SHARE = 0.3
TEXTS = [
    "Good.",
    "A wonderful film with a warm heart.",
    "Bad " * 20,
    "",
    "Überraschend gut! 素晴らしい 🎉",
    "so " * 60 + "good",
]
SENTENCE = "Anna Berger now lives in Lisbon. She works for Redwood Bank."


def picture(seed: int, size: tuple[int, int] = (60, 48)) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def text(*values: str | bytes) -> Arrays:
    """The tensor of some texts."""
    return {"text": rows(list(values))}


# Model -> requests that are answered.
GOOD: dict[str, list[dict[str, Any]]] = {
    "sentiment": [text(value) for value in TEXTS] + [text(*TEXTS[:3])],
    "ner": [text(SENTENCE), text(SENTENCE * 3) | {"aggregation_strategy": rows(["max"])}],
    "sentences": [text(value) for value in TEXTS[:2]],
    "classifier": [{"image": rows([picture(seed)])} for seed in range(3)],
    "gpt2-docs": [
        {"text_input": "Return the", "max_tokens": 8},
        {"text_input": "def", "max_tokens": 12, "options": '{"do_sample": true, "seed": 5, "temperature": 1.1}'},
    ],
}
HUGE = "x" * ((1 << 20) + 1)
# Model -> requests that are refused, and what the refusal has to say.
BAD: dict[str, list[tuple[dict[str, Any], str]]] = {
    "sentiment": [
        ({"text": np.array([[1.5]], np.float32)}, r"data-type is 'FP32', but model 'sentiment' expects 'BYTES'"),
        ({"text": np.array([b"a", b"b", b"c"], np.object_)}, r"unexpected shape"),
        ({"text": rows(["a", "b"]).reshape(1, 2)}, r"unexpected shape"),
        ({"top_k": np.array([[1]], np.int32)}, r"text"),
        (text(b"caf\xe9 and more"), r"text\[0\] is not valid UTF-8: invalid continuation byte at byte 3"),
        (text(HUGE), r"text\[0\] has 1048577 bytes; this server takes at most 1048576"),
        (text("word " * 5000), r"the text has \d+ tokens, the model takes \d+"),
        (text("a") | {"top_k": np.array([[0]], np.int32)}, r"top_k is 0; it must be 1 or more"),
        (text("a") | {"options": rows(["{"])}, r"options is not valid JSON"),
        (text("a") | {"options": rows(['{"top_q": 1}'])}, r"unknown argument 'top_q': did you mean 'top_k'|top_q"),
        (text("a") | {"colour": rows(["red"])}, r"unexpected inference input 'colour'|input"),
    ],
    "ner": [(text("x") | {"aggregation_strategy": rows(["most"])}, r"'most' is unknown: use one of none, simple")],
    "classifier": [
        ({"image": rows([b"\xff\xd8 damaged"])}, r"image\[0\] is not an image"),
        ({"image": rows([picture(1)[:200]])}, r"image\[0\] (is truncated|cannot be read)"),
        ({"image": rows(["/etc/hostname"])}, r"image\[0\] is not valid base64"),
    ],
    "gpt2-docs": [
        ({"text_input": "def", "max_tokens": 0}, r"max_tokens is 0; it must be 1 or more"),
        ({"text_input": "word " * 2000}, r"the prompt has \d+ tokens, the model's context holds \d+"),
        ({"text_input": "def", "options": '{"bad_words_ids": [[99999999]]}'}, r"99999999|vocabulary|bad_words_ids"),
        ({"text_input": "def", "options": '{"temperature": -3, "do_sample": true}'}, r"temperature"),
        ({"messages": "[{]"}, r"messages is not valid JSON"),
    ],
}


@dataclass
class Report:
    """What came of it. seconds: of each good request; memory: (requests done, bytes of the server's processes)."""

    good: int = 0
    bad: int = 0
    faults: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)
    wall: float = 0.0

    def growth(self, first: float = 0.2) -> float:
        """How much larger the memory is at the end than after the `first` part of the requests."""
        total = self.good + self.bad
        start = next(used for done, used in self.memory if done >= first * total)
        return self.memory[-1][1] / start - 1

    def lines(self) -> list[str]:
        """For people."""
        times = np.array(self.seconds) * 1000
        return [
            f"{self.good} good and {self.bad} bad requests in {self.wall:.0f} s, {len(self.faults)} faults",
            f"good requests: p50 {np.percentile(times, 50):.0f} ms, p95 {np.percentile(times, 95):.0f} ms, "
            f"p99 {np.percentile(times, 99):.0f} ms",
            f"memory of the server: {self.memory[-1][1] / 2**20:.0f} MiB, {self.growth():+.1%} since the first fifth",
            *(f"{count:6} × {message}" for message, count in self.refusals.most_common()),
            *self.faults[:20],
        ]


class Load:
    """Sends the requests of one run. server: only its addresses and process group are used."""

    def __init__(self, server: Any, requests: int, clients: int, seed: int = 7) -> None:
        self.server, self.requests, self.clients = server, requests, clients
        self.report = Report()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._transports = {
            (protocol, model): self._connect(protocol, model) for protocol in ("grpc", "http") for model in GOOD
        }
        self._expected: dict[tuple[str, int], Any] = {}

    def run(self) -> Report:
        """All requests, `clients` of them at a time."""
        for model, asked in GOOD.items():
            for number, inputs in enumerate(asked):
                self._expected[model, number] = ask(self._transports["grpc", model], inputs)
        begun = time.monotonic()
        jobs = [self._choose() for _ in range(self.requests)]
        with ThreadPoolExecutor(self.clients) as pool:
            list(pool.map(lambda job: job(), jobs))
        self.report.wall = time.monotonic() - begun
        self._remember_memory(force=True)
        for transport in self._transports.values():
            transport.close()
        return self.report

    def _choose(self) -> Callable[[], None]:
        """A request, good or bad, by either protocol."""
        protocol = self._random.choice(("grpc", "http"))
        if self._random.random() < BAD_SHARE:
            model = self._random.choice(list(BAD))
            inputs, message = self._random.choice(BAD[model])
            return lambda: self._bad(protocol, model, inputs, message)
        model = self._random.choice(list(GOOD))
        number = self._random.randrange(len(GOOD[model]))
        return lambda: self._good(protocol, model, number)

    def _good(self, protocol: str, model: str, number: int) -> None:
        begun = time.monotonic()
        try:
            answer = ask(self._transports[protocol, model], GOOD[model][number])
            wrong = None if alike(answer, self._expected[model, number]) else f"a wrong answer: {str(answer)[:200]}"
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        self._done(good=True, fault=wrong and f"{protocol} {model} {number}: {wrong}", seconds=time.monotonic() - begun)

    def _bad(self, protocol: str, model: str, inputs: dict[str, Any], message: str) -> None:
        fault: str | None = f"{protocol} {model}: was answered, and should not: {str(inputs)[:80]}"
        said = ""
        try:
            ask(self._transports[protocol, model], inputs)
        except OnwardError as error:
            said = str(error)
            fault = None if re.search(message, said) else f"{protocol} {model}: {said[:300]!r} does not say {message!r}"
            fault = fault or (None if is_for_people(said) else f"{protocol} {model}: not for people: {said[:300]!r}")
        except Exception as error:
            fault = f"{protocol} {model}: {type(error).__name__}: {error}"
        self._done(good=False, fault=fault, said=re.sub(r"\d+", "N", said)[:90])

    def _done(self, good: bool, fault: str | None, seconds: float = 0.0, said: str = "") -> None:
        with self._lock:
            report = self.report
            report.good, report.bad = report.good + good, report.bad + (not good)
            if fault:
                report.faults.append(fault)
            if good:
                report.seconds.append(seconds)
            elif said:
                report.refusals[said] += 1
            self._remember_memory()

    def _remember_memory(self, force: bool = False) -> None:
        done = self.report.good + self.report.bad
        if force or done % max(self.requests // 25, 1) == 0:
            self.report.memory.append((done, group_memory(self.server.pid)))

    def _connect(self, protocol: str, model: str) -> Transport:
        scheme = {"grpc": "triton", "http": "triton+http"}[protocol]
        address = parse_address(f"{scheme}://{self.server.address(protocol)}/{model}")
        return connect(address, Connection(request_timeout=120, retries=0))


def ask(transport: Transport, inputs: dict[str, Any]) -> Any:
    """An answer as plain values."""
    if "text_input" in inputs or "messages" in inputs:
        return [answer.get("text_output", answer.get("json")) for answer in transport.generate(inputs)]
    found = transport.infer(inputs, ["json"])["json"]
    return [json.loads(line) for line in found.reshape(-1)]


def alike(found: Any, expected: Any) -> bool:
    """Equal, numbers within the tolerance."""
    if isinstance(expected, float):
        return isinstance(found, float) and abs(found - expected) <= TOLERANCE
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(alike(found[key], expected[key]) for key in expected)
    return bool(found == expected)


def is_for_people(message: str) -> bool:
    """One line, no path of ours, no traceback."""
    return not re.search(r"\n|Traceback|\.py\b|/work|/home|/root|site-packages|internal error", message)


def group_memory(group: int) -> int:
    """Bytes of resident memory of a process group, shared pages counted once for each."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += int(fields[21]) * 4096
        except OSError:
            continue
    return total


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--python", required=True, help="interpreter of the environment in which models run")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=32)
    arguments = parser.parse_args()
    with TritonServer() as server:
        server.start(arguments.repository, python=arguments.python)
        server.wait_ready(600)
        report = Load(server, arguments.requests, arguments.clients).run()
    print("\n".join(report.lines()))
    raise SystemExit(bool(report.faults))


if __name__ == "__main__":
    main()
