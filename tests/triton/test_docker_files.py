"""What docker/ says is what the code does; there is no Docker engine in the tests."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from exporter.triton_config import INTERFACES
from runtime.triton.server import TritonServer
from runtime.triton.settings import GenerationSettings
from tests.triton.wire import open_stream, post

DOCKER = Path(__file__).parents[2] / "docker"
README = (DOCKER / "README.md").read_text()


def curl_lines() -> list[str]:
    return re.findall(r"^curl .*$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("task", INTERFACES)
def test_the_tables_name_every_tensor_with_its_type(task: str) -> None:
    section = README.split(f"## {task}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \| (\w+) \| `\[", section, flags=re.MULTILINE)
    documented = {name: dtype for names, dtype in rows for name in re.findall(r"`(\w+)`", names)}
    interface = INTERFACES[task]
    wire_types = {"TYPE_STRING": "BYTES"}
    actual = {t.name: wire_types.get(t.dtype, t.dtype[5:]) for t in [*interface.inputs, *interface.outputs]}
    assert documented == actual


def test_the_parameters_are_those_of_the_code() -> None:
    section = README.split("## What an owner can set\n")[1]
    documented = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, flags=re.MULTILINE))
    assert list(documented) == list(GenerationSettings.__struct_fields__)
    numbers = {name: value for name, value in documented.items() if value.isdecimal()}
    assert numbers == {name: str(getattr(GenerationSettings(), name)) for name in numbers}
    assert set(numbers) == {"max_text_bytes", "max_pending_requests"}


@pytest.mark.triton
@pytest.mark.parametrize("line", curl_lines())
def test_the_examples_are_answered(server: TritonServer, line: str) -> None:
    words = shlex.split(line)
    path = words[2].removeprefix("localhost:8000")
    body: dict[str, Any] = json.loads(words[words.index("-d") + 1])
    if path.endswith("generate_stream"):
        with open_stream(server, path.split("/")[3], **body) as events:
            assert "finish_reason" in list(events)[-1]
    else:
        status, answer = post(server, path, body)
        assert status == 200
        assert {"text_output", "label", "outputs", "json"} & set(answer)
