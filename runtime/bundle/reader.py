"""Opens a bundle: finds its version directory, checks schema, paths and sha256, hands out its files."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runtime.bundle.manifest import MANIFEST_FILE, SCHEMA_VERSION, Manifest
from runtime.errors import BundleError


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: the version directory and its manifest."""

    directory: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Path of a file of this bundle. Raises `BundleError` for a path that leaves it or does not exist."""
        if "\0" in name:
            raise BundleError(f"{self.directory}: the manifest names {name!r}, which is no file name")
        path = (self.directory / name).resolve()
        if not path.is_relative_to(self.directory.resolve()):
            raise BundleError(f"{self.directory}: the manifest names {name!r}, which lies outside of the bundle")
        if not path.is_file():
            raise BundleError(f"{self.directory}: {name} is missing; export the checkpoint again")
        return path

    def graph(self, name: str) -> Path:
        """Path of one of the graphs, by its name in the manifest."""
        if name not in self.manifest.graphs:
            raise BundleError(f"{self.directory}: no graph {name!r}; it has {', '.join(self.manifest.graphs)}")
        return self.file(self.manifest.graphs[name].file)


def open_bundle(path: str | Path, version: int | None = None, verify: bool = True) -> Bundle:
    """Open the bundle at `path`: a model directory (newest version unless `version` is given) or a version directory.

    Raises `BundleError` when there is none, its schema is newer than ours, or (with `verify`) a file's sha256 differs.
    """
    directory = version_directory(Path(path), version)
    manifest = read_manifest(directory / MANIFEST_FILE)
    bundle = Bundle(directory, manifest)
    if verify:
        verify_files(bundle)
    return bundle


def version_directory(path: Path, version: int | None = None) -> Path:
    """`path` itself if it holds a manifest, else its version subdirectory (the highest number by default)."""
    if version is None and (path / MANIFEST_FILE).is_file():
        return path
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}: no such directory; make one with `onward export`")
    found = {int(p.name): p for p in path.iterdir() if p.name.isdecimal() and (p / MANIFEST_FILE).is_file()}
    if not found:
        raise BundleError(f"no bundle at {path}: neither {MANIFEST_FILE} nor <version>/{MANIFEST_FILE} is there")
    if version is not None and version not in found:
        raise BundleError(f"{path} has no version {version}; it has {', '.join(map(str, sorted(found)))}")
    return found[version if version is not None else max(found)]


def read_manifest(path: Path) -> Manifest:
    """Decode `bundle.json` strictly, the schema version first."""
    try:
        raw = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    found = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(found, int):
        raise BundleError(f"{path} is not a bundle manifest: it has no schema_version")
    if found > SCHEMA_VERSION:
        raise BundleError(
            f"{path} has schema version {found}, this onward reads up to {SCHEMA_VERSION}: upgrade onward"
        )
    try:
        return msgspec.convert(raw, Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{path} is damaged: {error}") from error


def verify_files(bundle: Bundle) -> None:
    """Compare the sha256 of every file that the manifest lists."""
    paths = {name: bundle.file(name) for name in bundle.manifest.files}
    with ThreadPoolExecutor() as pool:
        hashes = dict(zip(paths, pool.map(sha256, paths.values()), strict=True))
    changed = [name for name, digest in hashes.items() if digest != bundle.manifest.files[name]]
    if changed:
        raise BundleError(
            f"{bundle.directory}: {', '.join(changed)} changed after the export (sha256 differs); export again"
        )


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
