"""The bundle: a Triton model directory that says everything the runtime needs."""

from runtime.bundle.manifest import (
    MANIFEST_FILE,
    SCHEMA_VERSION,
    CacheSpec,
    GraphSpec,
    ImageSpec,
    Manifest,
    TensorSpec,
    TokenizerSpec,
    encode,
)
from runtime.bundle.reader import Bundle, open_bundle, read_manifest, sha256, verify_files, version_directory

__all__ = [
    "MANIFEST_FILE",
    "SCHEMA_VERSION",
    "Bundle",
    "CacheSpec",
    "GraphSpec",
    "ImageSpec",
    "Manifest",
    "TensorSpec",
    "TokenizerSpec",
    "encode",
    "open_bundle",
    "read_manifest",
    "sha256",
    "verify_files",
    "version_directory",
]
