"""The bundle's reader: what it opens, what it refuses, and that every refusal is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.bundle import (
    MANIFEST_FILE,
    SCHEMA_VERSION,
    CacheSpec,
    GraphSpec,
    Manifest,
    TensorSpec,
    TokenizerSpec,
    encode,
    open_bundle,
    read_manifest,
    sha256,
    version_directory,
)
from runtime.errors import BundleError

MANIFEST = Manifest(
    name="m",
    task="text-generation",
    architecture="A",
    model_type="a",
    precision="fp32",
    path="emission",
    graphs={
        "model": GraphSpec(
            "model.onnx",
            [TensorSpec("input_ids", "int64", ["batch", "sequence"])],
            [TensorSpec("logits", "float32", ["batch", 7])],
            {"MatMul": 2},
        )
    },
    cache=CacheSpec("slots", 16, "float32", [(2, 8), (2, 8)]),
    tokenizer=TokenizerSpec(["input_ids"], model_max_length=None, special_tokens={"eos_token": "</s>"}),
    labels=["nein", "schön"],
    generation={"eos_token_id": [1, 2]},
)


def write(directory: Path, manifest: Manifest = MANIFEST, **files: str) -> Path:
    """A version directory with a manifest and files, hashed."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    hashes = {name: sha256(directory / name) for name in files}
    (directory / MANIFEST_FILE).write_bytes(encode(msgspec.structs.replace(manifest, files=hashes)))
    return directory


def change(directory: Path, **fields: Any) -> None:
    """Overwrite fields of bundle.json as a stranger would, without our types."""
    path = directory / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refusal(path: Path, version: int | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(path, version)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_manifest_survives_the_file(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(encode(MANIFEST))
    assert read_manifest(tmp_path / MANIFEST_FILE) == MANIFEST
    assert (tmp_path / MANIFEST_FILE).read_text().startswith('{\n  "schema_version"')  # for people too


def test_open(tmp_path: Path) -> None:
    bundle = open_bundle(write(tmp_path / "m" / "1", a="text"))
    assert bundle.directory == tmp_path / "m" / "1"
    assert bundle.file("a").read_text() == "text"
    with pytest.raises(BundleError, match=r"model\.onnx is missing; export"):
        bundle.graph("model")
    with pytest.raises(BundleError, match="no graph 'decoder'; it has model"):
        bundle.graph("decoder")


def test_newest_version_unless_one_is_named(tmp_path: Path) -> None:
    for version in (2, 9, 10):
        write(tmp_path / str(version), msgspec.structs.replace(MANIFEST, version=version))
    (tmp_path / "11").mkdir()  # Triton would skip it too: there is no bundle in it
    assert open_bundle(tmp_path).manifest.version == 10
    assert open_bundle(tmp_path, version=9).manifest.version == 9
    assert open_bundle(tmp_path / "2").manifest.version == 2
    assert "no version 11; it has 2, 9, 10" in refusal(tmp_path, 11)


def test_no_bundle(tmp_path: Path) -> None:
    assert "no such directory; make one with `onward export`" in refusal(tmp_path / "nothing")
    assert f"neither {MANIFEST_FILE} nor" in refusal(tmp_path)
    (tmp_path / "file").write_text("")
    assert "no such directory" in refusal(tmp_path / "file")


def test_version_directory_of_a_bundle_is_itself(tmp_path: Path) -> None:
    assert version_directory(write(tmp_path / "1")) == tmp_path / "1"
    with pytest.raises(BundleError, match="no bundle at"):
        version_directory(tmp_path / "1", version=3)


def test_changed_files_are_named(tmp_path: Path) -> None:
    directory = write(tmp_path, a="a", b="b", c="c")
    (directory / "a").write_text("A")
    (directory / "c").write_text("c ")
    assert "a, c changed after the export (sha256 differs)" in refusal(directory)
    assert open_bundle(directory, verify=False).manifest.name == "m"
    (directory / "a").unlink()
    assert "a is missing" in refusal(directory)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sub/../../outside", ".."])
def test_no_file_outside_of_the_bundle(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("secret")
    directory = write(tmp_path / "1")
    change(directory, files={name: "0" * 64})
    assert f"{name!r}, which lies outside of the bundle" in refusal(directory)
    change(directory, files={}, graphs={"model": {"file": name, "inputs": [], "outputs": []}})
    with pytest.raises(BundleError, match="outside of the bundle"):
        open_bundle(directory).graph("model")


def test_no_link_that_leaves_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("weights")
    directory = write(tmp_path / "1")
    (directory / "a").symlink_to(tmp_path / "outside")
    change(directory, files={"a": sha256(tmp_path / "outside")})
    assert "outside of the bundle" in refusal(directory)
    (directory / "b").write_text("inside")
    (directory / "a").unlink()
    (directory / "a").symlink_to("b")
    change(directory, files={"a": sha256(directory / "b")})
    assert open_bundle(directory).file("a").read_text() == "inside"


def test_newer_schema(tmp_path: Path) -> None:
    directory = write(tmp_path)
    # Fields that this version does not know must not hide the reason.
    change(directory, schema_version=SCHEMA_VERSION + 1, task={"of": "the future"})
    message = refusal(directory)
    assert f"schema version {SCHEMA_VERSION + 1}, this onward reads up to {SCHEMA_VERSION}: upgrade" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b'{"schema_version": 1, "na', "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[1, 2]", "not a bundle manifest"),
        (b"{}", "has no schema_version"),
        (b'{"schema_version": "1"}', "has no schema_version"),
        (b'{"schema_version": 1}', "is damaged: .*name"),
    ],
)
def test_no_manifest(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=words):
        open_bundle(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": "POSITIVE"},
        {"labels": [1, 2]},
        {"version": "1"},
        {"cache": {"kind": "slots", "max_length": 8.5, "dtype": "float32"}},
        {"graphs": {"model": {"file": "model.onnx"}}},
        {"tokenizer": {"model_input_names": ["input_ids"], "pad_token_id": "0"}},
    ],
)
def test_wrong_types_name_the_field(tmp_path: Path, fields: dict[str, Any]) -> None:
    directory = write(tmp_path)
    change(directory, **fields)
    message = refusal(directory)
    assert "is damaged" in message
    assert f"$.{next(iter(fields))}" in message


def test_manifest_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "1" / MANIFEST_FILE).mkdir(parents=True)
    assert "neither" in refusal(tmp_path)


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
