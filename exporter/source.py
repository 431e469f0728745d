"""Where a checkpoint comes from: a directory, a Trainer's output, a PEFT adapter, or the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from exporter import hub
from exporter.shards import check_adapter, check_weights, read_json, weight_files
from runtime.errors import ExportError

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
CHECKPOINT = re.compile(r"checkpoint-(\d+)")  # transformers.trainer_utils.PREFIX_CHECKPOINT_DIR

FILE_ADVICE = {
    ".zip": "unpack it and give the directory",
    ".gz": "unpack it and give the directory",
    ".tar": "unpack it and give the directory",
    ".onnx": "it is ONNX already; give the checkpoint that it was made from",
    ".gguf": "give the checkpoint that it was made from",
    ".safetensors": "give the directory that holds it with its config.json",
    ".json": "give the directory that holds it",
}


@dataclass(frozen=True)
class Source:
    """A checkpoint that is on this machine and whose files are whole.

    `id` is what people call it (the hub id, or the directory as given), `location` the local directory to load from.
    """

    kind: Literal["hub", "directory", "trainer", "peft"]
    location: str
    id: str
    name: str  # default bundle name, valid as a Triton model name
    revision: str | None = None  # commit sha, hub only
    base: Source | None = None  # what a PEFT adapter adapts


def resolve_source(source: str, revision: str | None = None, token: str | None = None) -> Source:
    """Find the checkpoint called `source`; an existing directory wins over a hub id. Downloads it when needed.

    `revision`: branch, tag or commit on the hub. Raises `ExportError` for anything that cannot be loaded, before torch
    is imported: not found, gated, pickled weights, truncated files, config.json that is missing or invalid.
    """
    path = Path(source).expanduser()
    if source.strip() and path.is_dir():
        if revision is not None:
            raise ExportError(f"{source} is a directory, which has no revision {revision!r}: leave --revision out")
        return _from_directory(path, source, token)
    if source.strip() and path.is_file():
        advice = FILE_ADVICE.get(path.suffix.lower(), "give the directory of a checkpoint")
        raise ExportError(f"{source} is a file: {advice}")
    if not source.strip() or source.startswith(("/", ".", "~", "http:", "https:")) or source.endswith("/"):
        raise ExportError(f"no such directory: {source!r}; give a checkpoint directory or a hub id such as openai/gpt2")
    return _from_hub(source, revision, token)


def bundle_name(name: str) -> str:
    """Last component of a hub id or path, as a valid Triton model name: [A-Za-z0-9_.-], no leading dot."""
    cleaned = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.rstrip("/").rpartition("/")[2])
    return cleaned.lstrip(".-") or "model"


def _from_hub(repo_id: str, revision: str | None, token: str | None) -> Source:
    directory = hub.download(repo_id, revision, token)
    whole = any(directory.glob("*.safetensors"))
    names = [] if whole else hub.listing(repo_id, directory.name, token)  # for the error message
    found = _inspect(directory, repo_id, token, names)
    if found is None:
        raise ExportError(_no_model(directory, repo_id, names))
    kind = found.kind if found.kind == "peft" else "hub"
    return replace(found, kind=kind, name=bundle_name(repo_id), revision=directory.name)


def _from_directory(path: Path, given: str, token: str | None) -> Source:
    own = _inspect(path, given, token, [])
    if own is not None:
        return own
    newest = _newest_checkpoint(path)
    found = _inspect(newest, str(newest), token, []) if newest else None
    if found is None:
        raise ExportError(_no_model(newest or path, str(newest or given), []))
    kind = found.kind if found.kind == "peft" else "trainer"
    return replace(found, kind=kind, name=bundle_name(path.resolve().name))


def _inspect(path: Path, given: str, token: str | None, names: list[str]) -> Source | None:
    """The model or adapter in this very directory, checked; None when there is none."""
    name = _directory_name(path)
    if (path / ADAPTER_CONFIG).is_file():
        check_adapter(path, given, names)
        base = _resolve_base(path, given, token)
        return Source("peft", str(path), given, name, base=base)
    if (path / CONFIG).is_file():
        _check_config(path, given)
        check_weights(path, given, names)
        return Source("directory", str(path), given, name)
    return None


def _directory_name(path: Path) -> str:
    path = path.resolve()
    if CHECKPOINT.fullmatch(path.name) and path.parent.name:
        return bundle_name(f"{path.parent.name}-{path.name}")
    return bundle_name(path.name)


def _newest_checkpoint(path: Path) -> Path | None:
    found = {int(m[1]): p for p in path.iterdir() if p.is_dir() and (m := CHECKPOINT.fullmatch(p.name))}
    return found[max(found)] if found else None


def _check_config(path: Path, given: str) -> None:
    config = read_json(path / CONFIG)
    if not isinstance(config.get("model_type"), str) and "auto_map" not in config:
        raise ExportError(f"{given}: config.json names no model_type; add the one of its architecture, such as 'bert'")


def _resolve_base(path: Path, given: str, token: str | None) -> Source:
    """The base model of a PEFT adapter: a directory relative to here or to the adapter, or a hub id."""
    if weight_files(path):
        raise ExportError(f"{given} holds a model and an adapter: move {ADAPTER_CONFIG} and its weights elsewhere")
    config = read_json(path / ADAPTER_CONFIG)
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ExportError(f"{given}: {ADAPTER_CONFIG} names no base_model_name_or_path; add the base model's hub id")
    beside = path / name
    local = next((p for p in (Path(name).expanduser(), beside) if p.is_dir()), None)
    if local is not None and local.samefile(path):
        raise ExportError(f"{given}: {ADAPTER_CONFIG} names the adapter itself as base model; correct it")
    try:
        base = resolve_source(str(local) if local else name, None if local else config.get("revision"), token)
    except ExportError as error:
        raise ExportError(f"base model of adapter {given} (base_model_name_or_path): {error}") from error
    if base.kind == "peft":
        raise ExportError(f"{given} adapts {base.id}, itself an adapter: merge that one first with merge_and_unload()")
    return base


def _no_model(path: Path, given: str, names: list[str]) -> str:
    present = {p.name for p in path.iterdir()} | set(names)
    if "model_index.json" in present:
        return f"{given} is a diffusers pipeline: give one of its models, such as its text_encoder directory"
    if "params.json" in present:
        return f"{given} has params.json but no config.json: give the checkpoint in Hugging Face format"
    return f"{given} has no config.json: give the directory that save_pretrained() or Trainer wrote"
