"""Validates a bundle that was written before, against its source or another checkpoint."""

from __future__ import annotations

from pathlib import Path

from exporter.loading import load_checkpoint, load_config
from exporter.source import resolve_source
from exporter.tasks import resolve_task
from exporter.validation.checks import Check
from exporter.validation.run import record_source, validate_bundle
from runtime.bundle import open_bundle


def revalidate(
    path: Path,
    against: str | None = None,
    provider: str = "cpu",
    device: str = "cpu",
    token: str | None = None,
    trust_remote_code: bool = False,
) -> list[Check]:
    """Load the source in float32, ask both, compare. Raises `OnwardError`s for what cannot be read."""
    bundle = open_bundle(path)
    manifest = bundle.manifest
    revision = manifest.provenance.get("revision") if against is None else None
    source = resolve_source(against or manifest.provenance["source"], revision, token)
    row = resolve_task(manifest.task, load_config(source, trust_remote_code, token), source)
    checkpoint = load_checkpoint(
        source, row, dtype="float32", device=device, trust_remote_code=trust_remote_code, token=token
    )
    return validate_bundle(record_source(checkpoint), bundle.directory, provider)
