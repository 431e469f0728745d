"""The export: find, load, ask the source, trace, write, validate, and only then put the bundle in its place."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from exporter.loading import Checkpoint, check_device, load_checkpoint, load_config
from exporter.output import check_target, staged_output
from exporter.precision import PRECISIONS, Precision
from exporter.source import Source, resolve_source
from exporter.stages import Stages
from exporter.tasks import TaskRow, resolve_task
from exporter.validation.checks import Check, FailedValidationError, summary
from runtime.bundle import MANIFEST_FILE, Manifest, encode, sha256
from runtime.errors import ExportError

DEFAULT_OPSET = 18
# Triton's own ONNX Runtime backend builds older runtimes: see docker/README.md.
OPSETS = range(18, 24)
PACKAGES = ("onward", "torch", "transformers", "onnx", "onnxscript", "onnxruntime", "tokenizers")


@dataclass(frozen=True)
class ExportOptions:
    """What the command line says. `name` and `task` are worked out from the checkpoint when None."""

    source: str
    task: str | None = None
    precision: str = "fp32"
    device: str = "cpu"
    output: Path = Path("model_repository")
    name: str | None = None
    version: int = 1
    opset: int = DEFAULT_OPSET
    revision: str | None = None
    token: str | None = None
    trust_remote_code: bool = False
    validate: bool = True
    max_length: int | None = None
    force: bool = False


@dataclass(frozen=True)
class ExportResult:
    """What was written. checks: the validation, empty without; seconds: of each stage."""

    directory: Path
    manifest: Manifest
    checks: list[Check]
    seconds: dict[str, float]


def run_export(options: ExportOptions, stages: Stages | None = None) -> ExportResult:
    """Export a checkpoint to `output/name`. Raises `OnwardError`s; then nothing of it is left on disk."""
    stages = stages or Stages()
    precision = check_options(options)
    with stages("find"):
        source = resolve_source(options.source, options.revision, options.token)
        name = options.name or source.name
        check_target(options.output, name, options.version, options.force)
        config = load_config(source, options.trust_remote_code, options.token)
        row = resolve_task(options.task, config, source)
        if options.max_length is not None and row.kind in ("encoder", "vision"):
            raise ExportError(f"--max-length is the context of a text generator, {row.name} has none: leave it out")
    job = Job(options, source, row, precision, name, stages)
    checkpoint = job.load("float32") if precision.dtype == "float32" or options.validate else None
    expected = job.ask_source(checkpoint) if options.validate and checkpoint else None
    if precision.dtype != "float32" or checkpoint is None:
        del checkpoint
        checkpoint = job.load(precision.dtype)
    needed = int(precision.bytes_per_weight * checkpoint.model.num_parameters() * 1.1) + 16 * 2**20
    with staged_output(options.output, name, options.version, options.force, needed) as staging:
        manifest = job.write(checkpoint, staging)
        del checkpoint
        checks = job.validate(expected, staging / str(options.version)) if expected else []
        manifest = job.finish(manifest, staging, checks, expected)
    return ExportResult(options.output / name, manifest, checks, stages.seconds)


def check_options(options: ExportOptions) -> Precision:
    """Refuse what can be refused before anything is loaded."""
    if options.precision not in PRECISIONS:
        raise ExportError(f"unknown precision {options.precision!r}; one of {', '.join(PRECISIONS)}")
    if options.opset not in OPSETS:
        raise ExportError(f"--opset {options.opset} is out of range: {OPSETS.start} to {OPSETS.stop - 1}")
    if options.device != "cpu":
        check_device(options.device)
    return PRECISIONS[options.precision]


@dataclass(frozen=True)
class Job:
    """One export under way."""

    options: ExportOptions
    source: Source
    row: TaskRow
    precision: Precision
    name: str
    stages: Stages

    def load(self, dtype: str) -> Checkpoint:
        """The checkpoint in `dtype`, on the device that the options name."""
        options = self.options
        with self.stages(f"load {dtype}"):
            return load_checkpoint(
                self.source,
                self.row,
                dtype=dtype,
                device=options.device,
                trust_remote_code=options.trust_remote_code,
                token=options.token,
            )

    def ask_source(self, checkpoint: Checkpoint) -> Any:
        """What the validation will expect."""
        from exporter.report.observe import observe_source
        from exporter.validation.run import record_source

        with self.stages("ask the source model"):
            expected = record_source(checkpoint)
        with self.stages("observe the source"):
            expected.facts = observe_source(checkpoint)
        return expected

    def write(self, checkpoint: Checkpoint, staging: Path) -> Manifest:
        """Trace and write everything but the report and the hashes."""
        from exporter.bundle_writer import write_bundle

        return write_bundle(self, checkpoint, staging)

    def validate(self, expected: Any, bundle: Path) -> list[Check]:
        """Raises `FailedValidationError` when a check fails."""
        from exporter.validation.run import validate_bundle

        with self.stages("validate"):
            checks = validate_bundle(expected, bundle)
        if not all(check.passed for check in checks):
            raise FailedValidationError(checks)
        return checks

    def finish(self, manifest: Manifest, staging: Path, checks: list[Check], expected: Any = None) -> Manifest:
        """Write the reports, then the manifest with validation and hashes."""
        from exporter.report.build import write_reports

        bundle = staging / str(self.options.version)
        with self.stages("report"):
            write_reports(bundle, manifest, checks, self.stages.seconds, expected.facts if expected else None)
        with self.stages("seal"):
            validation = summary(checks) if checks else {"passed": None, "reason": "--no-validate"}
            return seal(replace_manifest(manifest, validation=validation), bundle)


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
