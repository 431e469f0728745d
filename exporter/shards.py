"""Weight files of a checkpoint: which there are, and whether they are whole. Reads headers only, imports no torch.

Format: https://github.com/huggingface/safetensors#format (8 bytes little-endian header length, JSON header, data).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runtime.errors import ExportError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
OTHER_FORMATS = {".h5": "TensorFlow", ".msgpack": "Flax", ".gguf": "GGUF", ".onnx": "ONNX"}
# The limit of the safetensors library: a longer header is refused there too.
MAX_HEADER_BYTES = 100_000_000
LFS_POINTER = b"version https://git-lfs"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of the checkpoint. Raises `ExportError` when it is anything else."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} is not valid JSON ({error}): download or save the checkpoint again") from error
    if not isinstance(value, dict):
        raise ExportError(f"{path} holds no JSON object: download or save the checkpoint again")
    return value


def read_header(path: Path) -> dict[str, Any]:
    """Tensor name -> {"dtype", "shape", "data_offsets"} of a safetensors file whose length fits its header.

    Raises `ExportError` for a truncated or corrupt file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise ExportError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull`")
        length = int.from_bytes(start[:8], "little")
        if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):
            raise _damaged(path, f"its header would end beyond the file's {size} bytes")
        file.seek(8)
        header = _decode_header(path, file.read(length))
    _check_length(path, header, 8 + length, size)
    return header


def _decode_header(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        for entry in header.values():
            begin, end = entry["data_offsets"]
            if not (isinstance(entry["shape"], list) and 0 <= begin <= end):
                raise ValueError("tensor entry out of order")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, "its header is not valid") from error
    return dict(header)


def _check_length(path: Path, header: dict[str, Any], data_start: int, size: int) -> None:
    expected = data_start + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if size != expected:
        raise _damaged(path, f"it has {size} bytes where its header says {expected}")


def _damaged(path: Path, reason: str) -> ExportError:
    return ExportError(f"{path} is truncated or corrupt ({reason}): download or save the checkpoint again")


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files that transformers would load: the single file, else the shards of the index, else none."""
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if (directory / INDEX).is_file():
        return [directory / name for name in sorted(set(weight_map(directory).values()))]
    return []


def weight_map(directory: Path) -> dict[str, str]:
    """Tensor name -> shard file, from `model.safetensors.index.json`."""
    mapping = read_json(directory / INDEX).get("weight_map")
    if not isinstance(mapping, dict) or not mapping or not all(isinstance(v, str) for v in mapping.values()):
        raise ExportError(f"{directory / INDEX} has no weight_map: download or save the checkpoint again")
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in mapping.values()):
        raise ExportError(f"{directory / INDEX} names a shard outside of its directory: do not trust this checkpoint")
    return mapping


def check_weights(directory: Path, where: str, listing: Iterable[str] = ()) -> None:
    """Raise `ExportError` unless `directory` holds whole safetensors weights.

    `where` names the checkpoint in messages; `listing` adds files that the hub has but that were not downloaded.
    """
    files = weight_files(directory)
    if not files:
        names = {path.name for path in directory.iterdir()} | set(listing)
        raise ExportError(_no_weights(where, sorted(names)))
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ExportError(
            f"{where} lacks {len(missing)} of {len(files)} weight files ({missing[0]}): download it again"
        )
    headers = {path.name: read_header(path) for path in files}
    if files != [directory / WEIGHTS]:
        _check_index(directory, headers)


def _check_index(directory: Path, headers: dict[str, dict[str, Any]]) -> None:
    for tensor, shard in weight_map(directory).items():
        if tensor not in headers[Path(shard).name]:
            raise _damaged(directory / shard, f"the index promises {tensor} in it")


def check_adapter(directory: Path, where: str, listing: Iterable[str] = ()) -> None:
    """Raise `ExportError` unless `directory` holds whole safetensors weights of a PEFT adapter."""
    path = directory / ADAPTER_WEIGHTS
    if not path.is_file():
        pickled = "adapter_model.bin" in {*listing, *(p.name for p in directory.iterdir())}
        found = "only adapter_model.bin, a pickle, which is never loaded" if pickled else f"no {ADAPTER_WEIGHTS}"
        raise ExportError(f"adapter {where} has {found}: save it with peft's save_pretrained(safe_serialization=True)")
    read_header(path)


def _no_weights(where: str, names: list[str]) -> str:
    pickled = [name for name in names if name.endswith(PICKLES) and name != "training_args.bin"]
    if pickled:
        return (
            f"{where} has only pickled weights ({pickled[0]}), which can run code when loaded and are refused: convert "
            "them with save_pretrained(), which writes safetensors, in an environment you trust"
        )
    variants = [name for name in names if name.endswith(".safetensors")]
    if variants:
        return f"{where} has {variants[0]} but no {WEIGHTS}: rename it, or save the checkpoint with save_pretrained()"
    for name in names:
        if Path(name).suffix in OTHER_FORMATS:
            kind = OTHER_FORMATS[Path(name).suffix]
            return f"{where} has only {kind} weights ({name}): give the checkpoint with safetensors weights"
    return f"{where} has no weights: {WEIGHTS}, or {INDEX} with its shards, must be there"
