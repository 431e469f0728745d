"""The check of weight files: whole ones pass, every truncation and every damaged header is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from exporter.shards import check_weights, read_header, read_json, weight_files
from tests.unit.exporter.refusal import refused

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float16)}
BLOB = save(TENSORS, metadata={"format": "pt"})


def sharded(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name, key in zip(names, TENSORS, strict=True):
        save_file({key: TENSORS[key]}, directory / name)
    mapping = dict(zip(TENSORS, names, strict=True))
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": mapping}))
    return directory


def test_header_of_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BLOB)
    header = read_header(tmp_path / "x")
    assert {name: entry["shape"] for name, entry in header.items()} == {"a.weight": [2, 3], "b": [4]}


def test_header_of_a_file_without_tensors(tmp_path: Path) -> None:
    save_file({}, tmp_path / "x")
    assert read_header(tmp_path / "x") == {}


@given(st.integers(min_value=0, max_value=len(BLOB) - 1))
def test_every_truncation_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    path.write_bytes(BLOB[:length])
    with refused("truncated or corrupt", "download"):
        read_header(path)


@given(st.integers(min_value=0, max_value=7), st.integers(min_value=1, max_value=255))
def test_a_changed_header_length_is_refused(tmp_path_factory: pytest.TempPathFactory, place: int, flip: int) -> None:
    path = tmp_path_factory.getbasetemp() / "length.safetensors"
    path.write_bytes(BLOB[:place] + bytes([BLOB[place] ^ flip]) + BLOB[place + 1 :])
    with refused("truncated or corrupt"):
        read_header(path)


@pytest.mark.parametrize(
    "header",
    [b"[]", b"{", b'{"a": 1}', b'{"a": {"data_offsets": [0]}}', b'{"a": {"shape": 3, "data_offsets": [0, 0]}}'],
)
def test_header_that_is_no_header(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header)
    with refused("header is not valid"):
        read_header(tmp_path / "x")


def test_bytes_after_the_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BLOB + b"?")
    with refused(f"it has {len(BLOB) + 1} bytes where its header says {len(BLOB)}"):
        read_header(tmp_path / "x")


def test_git_lfs_pointer(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with refused("Git LFS pointer", "git lfs pull"):
        check_weights(tmp_path, "here")


def test_shards_are_found_and_whole(tmp_path: Path) -> None:
    check_weights(sharded(tmp_path), "here")
    assert [p.name for p in weight_files(tmp_path)] == sorted(p.name for p in tmp_path.glob("*.safetensors"))


def test_the_single_file_wins_over_the_index(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(BLOB)
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]


def test_missing_shard_is_named(tmp_path: Path) -> None:
    (sharded(tmp_path) / "model-00002-of-00002.safetensors").unlink()
    with refused("lacks 1 of 2 weight files", "model-00002-of-00002.safetensors"):
        check_weights(tmp_path, "here")


def test_truncated_shard_is_named(tmp_path: Path) -> None:
    path = sharded(tmp_path) / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with refused(str(path), "truncated"):
        check_weights(tmp_path, "here")


def test_tensor_that_its_shard_lacks(tmp_path: Path) -> None:
    index = sharded(tmp_path) / "model.safetensors.index.json"
    mapping = json.loads(index.read_text())
    mapping["weight_map"]["c"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(mapping))
    with refused("the index promises c in it"):
        check_weights(tmp_path, "here")


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": []}'])
def test_index_without_a_map(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with refused("has no weight_map"):
        check_weights(tmp_path, "here")


@pytest.mark.parametrize("shard", ["../x.safetensors", "/etc/x.safetensors", "a/../../x"])
def test_shard_outside_of_the_directory(tmp_path: Path, shard: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with refused("outside of its directory"):
        check_weights(tmp_path, "here")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["pytorch_model.bin"], ["pickled weights (pytorch_model.bin)", "refused", "save_pretrained"]),
        (["model.pt", "training_args.bin"], ["pickled weights (model.pt)"]),
        (["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], ["pickled", "safetensors"]),
        (["model.fp16.safetensors"], ["model.fp16.safetensors", "rename"]),
        (["tf_model.h5"], ["TensorFlow", "tf_model.h5"]),
        (["flax_model.msgpack"], ["Flax"]),
        (["model.gguf"], ["GGUF"]),
        (["model.onnx"], ["ONNX"]),
        (["training_args.bin"], ["has no weights", "model.safetensors"]),
        ([], ["has no weights", "model.safetensors"]),
    ],
)
def test_directory_without_safetensors(tmp_path: Path, files: list[str], words: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"?")
    with refused("my/model", *words):
        check_weights(tmp_path, "my/model")


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe\x00", b"[1]", b"null", b""])
def test_json_that_is_no_object(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with refused("config.json", "download or save the checkpoint again"):
        read_json(tmp_path / "config.json")
