"""Which checkpoint a name means, and the refusal of everything that is none. The hub's part is in test_hub.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from exporter.source import Source, bundle_name, resolve_source
from tests.unit.exporter.refusal import refused

Copy = Callable[..., Path]


def adapter(directory: Path, base: str | None, **config: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    save_file(
        {"base_model.model.x.lora_A.weight": np.ones((1, 2), np.float32)}, directory / "adapter_model.safetensors"
    )
    values = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, **config}
    (directory / "adapter_config.json").write_text(json.dumps(values))
    return directory


def test_directory(built: Path) -> None:
    path = str(built / "gpt2")
    assert resolve_source(path) == Source("directory", path, path, "gpt2")


def test_directory_wins_over_a_hub_id(copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy("gpt2", tmp_path / "openai" / "gpt2")
    monkeypatch.chdir(tmp_path)
    found = resolve_source("openai/gpt2")
    assert (found.kind, found.location, found.name) == ("directory", "openai/gpt2", "gpt2")


def test_home_and_current_directory(copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = copy("gpt2", tmp_path / "my model!")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_source("~/my model!").location == str(here)
    monkeypatch.chdir(here)
    assert resolve_source(".").name == "my-model-"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("openai/gpt2", "gpt2"),
        ("gpt2", "gpt2"),
        ("org/Model_v1.5-x", "Model_v1.5-x"),
        ("a/b c+d", "b-c-d"),
        ("a/.hidden", "hidden"),
        ("models/模型/", "model"),
        ("/", "model"),
    ],
)
def test_bundle_name(given: str, name: str) -> None:
    assert bundle_name(given) == name


def test_trainer_output_takes_the_newest_checkpoint(copy: Copy, tmp_path: Path) -> None:
    for step in (9, 10):
        copy("gpt2", tmp_path / "run" / f"checkpoint-{step}")
    (tmp_path / "run" / "checkpoint-best").mkdir()
    (tmp_path / "run" / "checkpoint-99").write_text("a file")
    found = resolve_source(str(tmp_path / "run"))
    assert (found.kind, found.name) == ("trainer", "run")
    assert found.location == str(tmp_path / "run" / "checkpoint-10")


def test_trainer_output_with_a_final_model_is_a_directory(copy: Copy, tmp_path: Path) -> None:
    run = copy("gpt2")
    copy("gpt2", run / "checkpoint-10")
    found = resolve_source(str(run))
    assert (found.kind, found.location) == ("directory", str(run))


def test_newest_checkpoint_that_is_damaged_is_an_error(copy: Copy, tmp_path: Path) -> None:
    copy("gpt2", tmp_path / "run" / "checkpoint-1")
    newest = copy("gpt2", tmp_path / "run" / "checkpoint-2") / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-8])
    with refused(str(newest), "truncated"):
        resolve_source(str(tmp_path / "run"))


def test_newest_checkpoint_without_a_config_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    with refused("checkpoint-3", "no config.json"):
        resolve_source(str(tmp_path))


def test_checkpoint_given_by_itself_is_named_after_its_run(copy: Copy, tmp_path: Path) -> None:
    path = copy("gpt2", tmp_path / "run" / "checkpoint-10")
    assert resolve_source(str(path)).name == "run-checkpoint-10"


def test_adapter_with_a_base_beside_it(copy: Copy, tmp_path: Path) -> None:
    base = copy("gpt2", tmp_path / "base")
    found = resolve_source(str(adapter(tmp_path / "lora", "../base")))
    assert (found.kind, found.name) == ("peft", "lora")
    assert found.base is not None
    assert Path(found.base.location).samefile(base)
    assert found.base.kind == "directory"


def test_adapter_with_a_base_relative_to_here(copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy("gpt2", tmp_path / "work" / "base")
    path = adapter(tmp_path / "elsewhere" / "lora", "base")
    monkeypatch.chdir(tmp_path / "work")
    found = resolve_source(str(path))
    assert found.base is not None
    assert found.base.location == "base"


def test_trainer_output_of_adapters(copy: Copy, tmp_path: Path) -> None:
    base = copy("gpt2", tmp_path / "base")
    adapter(tmp_path / "run" / "checkpoint-7", str(base))
    found = resolve_source(str(tmp_path / "run"))
    assert (found.kind, found.name) == ("peft", "run")
    assert found.location.endswith("checkpoint-7")


def test_adapters_that_cannot_be_used(copy: Copy, tmp_path: Path) -> None:
    base = copy("gpt2", tmp_path / "base")
    with refused("adapter_config.json", "base_model_name_or_path"):
        resolve_source(str(adapter(tmp_path / "unnamed", None)))
    with refused("base model of adapter", "/no/such/base", "no such directory"):
        resolve_source(str(adapter(tmp_path / "lost", "/no/such/base")))
    with refused("names the adapter itself"):
        resolve_source(str(adapter(tmp_path / "self", str(tmp_path / "self"))))
    inner = adapter(tmp_path / "inner", str(base))
    with refused("itself an adapter", "merge_and_unload"):
        resolve_source(str(adapter(tmp_path / "outer", str(inner))))
    with refused("a model and an adapter"):
        resolve_source(str(adapter(base, str(tmp_path / "inner"))))


def test_pickled_and_truncated_adapters(copy: Copy, tmp_path: Path) -> None:
    base = copy("gpt2", tmp_path / "base")
    path = adapter(tmp_path / "lora", str(base))
    weights = path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with refused(str(weights), "truncated"):
        resolve_source(str(path))
    weights.rename(path / "adapter_model.bin")
    with refused("adapter_model.bin", "pickle", "safe_serialization"):
        resolve_source(str(path))
    (path / "adapter_model.bin").unlink()
    with refused("no adapter_model.safetensors"):
        resolve_source(str(path))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", ["no such directory", "hub id"]),
        ("  ", ["no such directory"]),
        ("/no/such/place", ["no such directory", "/no/such/place"]),
        ("./nothing", ["no such directory"]),
        ("nothing/", ["no such directory"]),
        ("https://huggingface.co/openai/gpt2", ["no such directory", "hub id"]),
        ("a/b/c", ["no directory 'a/b/c'", "no Hugging Face Hub id"]),
        ("what is this?", ["no directory", "check the path"]),
    ],
)
def test_names_that_mean_nothing(given: str, words: list[str]) -> None:
    with refused(*words):
        resolve_source(given)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("model.zip", "unpack it"),
        ("model.tar.gz", "unpack it"),
        ("model.onnx", "ONNX already"),
        ("model.gguf", "made from"),
        ("model.safetensors", "the directory that holds it"),
        ("config.json", "the directory that holds it"),
        ("model.bin", "the directory of a checkpoint"),
    ],
)
def test_files_are_no_checkpoints(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"?")
    with refused(name, "is a file", advice):
        resolve_source(str(tmp_path / name))


@pytest.mark.parametrize(
    ("present", "words"),
    [
        ([], ["no config.json", "save_pretrained"]),
        (["model.safetensors"], ["no config.json"]),
        (["model_index.json"], ["diffusers pipeline"]),
        (["params.json", "consolidated.safetensors"], ["params.json", "Hugging Face format"]),
    ],
)
def test_directories_without_a_config(tmp_path: Path, present: list[str], words: list[str]) -> None:
    for name in present:
        (tmp_path / name).write_bytes(b"?")
    with refused(*words):
        resolve_source(str(tmp_path))


def test_config_that_is_no_config(copy: Copy) -> None:
    path = copy("gpt2")
    (path / "config.json").write_text('{"model_type": "gpt2",')
    with refused("config.json", "not valid JSON"):
        resolve_source(str(path))
    (path / "config.json").write_text("{}")
    with refused("names no model_type"):
        resolve_source(str(path))
    (path / "config.json").write_text('{"auto_map": {"AutoConfig": "x.Config"}}')
    assert resolve_source(str(path)).kind == "directory"


def test_pickled_weights_are_refused(copy: Copy) -> None:
    path = copy("gpt2")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with refused(str(path), "pickled", "convert"):
        resolve_source(str(path))


def test_revision_of_a_directory(built: Path) -> None:
    with refused("is a directory", "--revision"):
        resolve_source(str(built / "gpt2"), revision="main")


def test_damage_is_found_before_torch_is_imported(copy: Copy) -> None:
    path = copy("gpt2")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    script = f"""
import sys
from exporter.source import resolve_source
try:
    resolve_source({str(path)!r})
except Exception as error:
    print(type(error).__name__, sorted({{"torch", "transformers", "optimum"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "ExportError []"
