"""The last touch: where a bundle comes from, and the hashes of its files."""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from exporter.source import Source
from runtime.bundle import MANIFEST_FILE, Manifest, encode, sha256

PACKAGES = ("onward", "torch", "transformers", "onnx", "onnxscript", "onnxruntime", "tokenizers")


def seal(manifest: Manifest, bundle: Path) -> Manifest:
    """Write `bundle.json` with the sha256 of every other file."""
    names = sorted(str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file() and p.name != MANIFEST_FILE)
    sealed = replace_manifest(manifest, files={name: sha256(bundle / name) for name in names})
    (bundle / MANIFEST_FILE).write_bytes(encode(sealed))
    return sealed


def replace_manifest(manifest: Manifest, **changes: Any) -> Manifest:
    """A copy with some fields changed."""
    changed: Manifest = msgspec.structs.replace(manifest, **changes)
    return changed


def provenance(source: Source) -> dict[str, Any]:
    """Where the bundle comes from: the source as people call it, and what made it."""
    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "source": source.id,
        "kind": source.kind,
        "revision": source.revision,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": versions,
    }
