"""Downloads with huggingface_hub's real code against a hub on 127.0.0.1; each in its own process, for its cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.exporter.fake_hub import COMMIT, TOKEN, FakeHub, serve
from tests.unit.exporter.test_source import adapter

ID = "acme/tiny-gpt2"
SCRIPT = """
import dataclasses, json, sys
from exporter.source import resolve_source
from runtime.errors import ExportError
try:
    print(json.dumps(dataclasses.asdict(resolve_source(sys.argv[1], *sys.argv[2:]))))
except ExportError as error:
    print(json.dumps({"error": str(error)}))
print(json.dumps("torch" in sys.modules))
"""
# What else real repositories hold: other formats, duplicates in sub-folders, training leftovers.
DUPLICATES = ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "onnx/model.onnx", "onnx/config.json",
              "original/model.safetensors", "model.gguf", "README.md", "training_args.bin"]  # fmt: skip


@pytest.fixture(scope="module")
def repos(built: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import shutil

    root = tmp_path_factory.mktemp("hub")
    full = Path(shutil.copytree(built / "gpt2", root / "full"))
    for name in [*DUPLICATES, "additional_chat_templates/tool_use.jinja"]:
        (full / name).parent.mkdir(exist_ok=True)
        (full / name).write_bytes(b"?")
    pickled = Path(shutil.copytree(built / "gpt2", root / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    return {ID: full, "acme/pickled": pickled, "acme/lora": adapter(root / "lora", ID, revision="v1")}


@pytest.fixture
def hub(repos: dict[str, Path]) -> Iterator[FakeHub]:
    with serve(dict(repos)) as server:
        yield server


class Client:
    """Runs `resolve_source` in a fresh process with its own HF_HOME."""

    def __init__(self, home: Path, url: str) -> None:
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        self.env = {**keep, "HF_HOME": str(home), "HF_ENDPOINT": url, "HF_HUB_DISABLE_TELEMETRY": "1"}
        self.stderr = ""

    def resolve(self, *args: str, **env: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *args], env={**self.env, **env}, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        self.stderr = done.stderr
        answer, torch_imported = (json.loads(line) for line in done.stdout.splitlines())
        assert not torch_imported
        assert "\n" not in answer.get("error", "")
        return dict(answer)


@pytest.fixture
def client(hub: FakeHub, tmp_path: Path) -> Client:
    return Client(tmp_path / "home", hub.url)


def test_downloads_only_what_is_needed(client: Client, hub: FakeHub) -> None:
    found = client.resolve(ID)
    assert (found["kind"], found["id"], found["name"], found["revision"]) == ("hub", ID, "tiny-gpt2", COMMIT)
    location = Path(found["location"])
    assert location.name == COMMIT
    assert client.stderr == ""
    expected = {p.name for p in hub.repos[ID].iterdir() if p.suffix in (".json", ".safetensors")}
    assert hub.fetched() == expected | {"additional_chat_templates/tool_use.jinja"}
    assert (location / "model.safetensors").read_bytes() == (hub.repos[ID] / "model.safetensors").read_bytes()


def test_downloads_shards_by_their_index(client: Client, hub: FakeHub, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    directory = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(hub.repos[ID]).save_pretrained(directory, max_shard_size="5KB")
    hub.repos["acme/sharded"] = directory
    found = client.resolve("acme/sharded")
    shards = {p.name for p in directory.glob("*.safetensors")}
    assert len(shards) > 1
    assert shards <= hub.fetched()
    assert found["name"] == "sharded"


def test_cached_and_offline(client: Client, hub: FakeHub) -> None:
    online = client.resolve(ID)
    hub.requests.clear()
    assert client.resolve(ID, HF_HUB_OFFLINE="1") == online
    assert hub.requests == []
    assert client.resolve(ID, HF_ENDPOINT="http://127.0.0.1:9") == online


def test_cached_needs_no_second_download(client: Client, hub: FakeHub) -> None:
    client.resolve(ID)
    hub.requests.clear()
    client.resolve(ID)
    assert hub.fetched() == set()


def test_revision(client: Client) -> None:
    assert client.resolve(ID, "v1")["revision"] == COMMIT
    assert client.resolve(ID, COMMIT)["revision"] == COMMIT
    error = client.resolve(ID, "nonsense")["error"]
    assert error == f"{ID} has no revision 'nonsense' on the Hugging Face Hub: give a branch, tag or commit of it"


def test_not_found(client: Client) -> None:
    error = client.resolve("acme/typo")["error"]
    assert "no directory 'acme/typo' and no such model" in error
    assert "HF_TOKEN" in error


def test_gated(client: Client, hub: FakeHub) -> None:
    hub.gated.add(ID)
    error = client.resolve(ID)["error"]
    assert f"{ID} is gated: accept its licence at https://huggingface.co/{ID} and set HF_TOKEN" in error
    assert client.resolve(ID, HF_TOKEN=TOKEN)["kind"] == "hub"


def test_token_as_an_argument(client: Client, hub: FakeHub) -> None:
    hub.gated.add(ID)
    assert client.resolve(ID, "main", TOKEN)["kind"] == "hub"


def test_only_pickles_on_the_hub(client: Client, hub: FakeHub) -> None:
    error = client.resolve("acme/pickled")["error"]
    assert "acme/pickled has only pickled weights (pytorch_model.bin)" in error
    assert "pytorch_model.bin" not in hub.fetched()


def test_adapter_and_its_base(client: Client, hub: FakeHub) -> None:
    found = client.resolve("acme/lora")
    assert (found["kind"], found["name"], found["revision"]) == ("peft", "lora", COMMIT)
    assert (found["base"]["kind"], found["base"]["id"]) == ("hub", ID)
    assert f"GET /api/models/{ID}/revision/v1" in hub.requests
    assert "adapter_model.safetensors" in hub.fetched()


def test_no_network_and_not_cached(client: Client) -> None:
    error = client.resolve(ID, HF_ENDPOINT="http://127.0.0.1:9")["error"]
    assert "cannot be reached" in error
    assert "HF_HUB_OFFLINE=1" in error
    assert "local directory" in error


def test_offline_and_not_cached(client: Client) -> None:
    error = client.resolve(ID, HF_HUB_OFFLINE="1")["error"]
    assert "HF_HUB_OFFLINE is set" in error
    assert "local directory" in error


def test_interrupted_download_is_not_taken_for_whole(client: Client) -> None:
    location = Path(client.resolve(ID)["location"])
    (location / "model.safetensors").unlink()
    assert "not (wholly) in the cache" in client.resolve(ID, HF_HUB_OFFLINE="1")["error"]
    assert "error" not in client.resolve(ID)  # online it is completed


def test_truncated_blob_in_the_cache(client: Client) -> None:
    location = Path(client.resolve(ID)["location"])
    weights = location / "model.safetensors"
    data = weights.read_bytes()
    weights.resolve().write_bytes(data[:-1])
    assert "truncated or corrupt" in client.resolve(ID)["error"]


def test_hub_that_is_down(client: Client, hub: FakeHub) -> None:
    hub.broken = True
    error = client.resolve(ID)["error"]
    assert ID in error
    assert "503" in error
