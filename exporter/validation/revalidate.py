"""Validates a bundle that was written before, against its source or another checkpoint."""

from __future__ import annotations

from pathlib import Path

from exporter.evaluation.run import evaluate_source, prepare
from exporter.evaluation.settings import EvaluationSettings
from exporter.loading import load_checkpoint, load_config
from exporter.source import resolve_source
from exporter.tasks import resolve_task
from exporter.validation.checks import Check
from exporter.validation.run import record_source, validate_bundle
from runtime.bundle import open_bundle
from runtime.session import check_provider


def revalidate(
    path: Path,
    against: str | None = None,
    provider: str = "cpu",
    device: str = "cpu",
    token: str | None = None,
    trust_remote_code: bool = False,
    evaluation: EvaluationSettings | None = None,
) -> list[Check]:
    """Load the source in float32, ask both, compare. Raises `OnwardError`s for what cannot be read.

    evaluation: data to measure the task's metric on as well; its checks have the point "accuracy".
    """
    check_provider(provider)
    bundle = open_bundle(path)
    manifest = bundle.manifest
    revision = manifest.provenance.get("revision") if against is None else None
    source = resolve_source(against or manifest.provenance["source"], revision, token)
    config = load_config(source, trust_remote_code, token)
    row = resolve_task(manifest.task, config, source)
    prepared = prepare(evaluation or EvaluationSettings(), row.name, config)
    checkpoint = load_checkpoint(
        source, row, dtype="float32", device=device, trust_remote_code=trust_remote_code, token=token
    )
    expected = record_source(checkpoint)
    if prepared is not None:
        expected.evaluation = evaluate_source(prepared, checkpoint)
    return validate_bundle(expected, bundle.directory, provider)
