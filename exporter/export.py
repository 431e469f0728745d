"""The export: find, load, ask the source, trace, write, validate, and only then put the bundle in its place."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.evaluation.settings import EvaluationSettings
from exporter.loading import Checkpoint, check_device, load_checkpoint, load_config
from exporter.memory import release
from exporter.output import check_target, staged_output
from exporter.precision import PRECISIONS, Precision
from exporter.quantization.request import Settings
from exporter.quantization.samples import read_samples
from exporter.source import Source, resolve_source
from exporter.stages import Stages
from exporter.tasks import TaskRow, resolve_task
from exporter.triton_options import TritonOptions, find_release
from exporter.validation.checks import Check, FailedValidationError, summary
from runtime.bundle import MANIFEST_FILE, Manifest, encode, sha256
from runtime.errors import ExportError, OnwardError

if TYPE_CHECKING:
    from exporter.evaluation.run import Evaluation
    from exporter.tracing.causal_lm import Traced

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
    quantization: Settings = field(default_factory=Settings)
    calibration_data: Path | None = None
    triton: TritonOptions = field(default_factory=TritonOptions)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)


@dataclass(frozen=True)
class ExportResult:
    """What was written. checks: the validation, empty without; seconds: of each stage."""

    directory: Path
    manifest: Manifest
    checks: list[Check]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What became of one precision: a result, or the error that stopped it, which left nothing on disk."""

    precision: str
    result: ExportResult | None
    error: OnwardError | None = None


def run_export(options: ExportOptions, stages: Stages | None = None) -> ExportResult:
    """Export a checkpoint to `output/name`. Raises `OnwardError`s; then nothing of it is left on disk."""
    [outcome] = run_exports(options, [options.precision], stages)
    if outcome.result is None:
        assert outcome.error is not None
        raise outcome.error
    return outcome.result


def run_exports(options: ExportOptions, precisions: Sequence[str], stages: Stages | None = None) -> list[Outcome]:
    """Export a checkpoint in several precisions, the source asked once: to `output/name-precision` each.

    One precision is named as it is. What can be refused before anything is loaded raises for all of them; an error of
    one precision later leaves the others alone.
    """
    stages = stages or Stages()
    wanted = check_options(options, precisions)
    with stages("find"):
        source = resolve_source(options.source, options.revision, options.token)
        base = options.name or source.name
        names = [base] if len(wanted) == 1 else [f"{base}-{precision.name}" for precision in wanted]
        for name in names:
            check_target(options.output, name, options.version, options.force)
        config = load_config(source, options.trust_remote_code, options.token)
        row = resolve_task(options.task, config, source)
        if options.max_length is not None and row.kind in ("encoder", "vision"):
            raise ExportError(f"--max-length is the context of a text generator, {row.name} has none: leave it out")
        evaluation = read_evaluation(options, row, config)
    jobs = [
        Job(options, source, row, precision, name, stages, evaluation)
        for precision, name in zip(wanted, names, strict=True)
    ]
    return run_jobs(jobs, stages)


def read_evaluation(options: ExportOptions, row: TaskRow, config: Any) -> Evaluation | None:
    """The evaluation data, refused before anything is loaded where it does not fit."""
    if options.evaluation.data is None:
        return None
    from exporter.evaluation.run import prepare

    return prepare(options.evaluation, row.name, config)


def run_jobs(jobs: Sequence[Job], stages: Stages) -> list[Outcome]:
    """Those that are traced in float32 first: they share the checkpoint that the source is asked with."""
    held, expected = Held(jobs[0].load), None
    if jobs[0].options.validate:
        expected = jobs[0].ask_source(held.checkpoint("float32"))
    order = sorted(jobs, key=lambda job: (job.dtype != "float32", job.dtype))
    outcomes = {}
    for index, job in enumerate(order):
        last = job.dtype not in [other.dtype for other in order[index + 1 :]]
        part = job if len(jobs) == 1 else replace(job, stages=stages.under(f"{job.precision.name}: "))
        try:
            outcomes[job.name] = Outcome(job.precision.name, part.run(held, expected, last))
        except OnwardError as error:
            outcomes[job.name] = Outcome(job.precision.name, None, error)
    return [outcomes[job.name] for job in jobs]


def check_options(options: ExportOptions, precisions: Sequence[str]) -> list[Precision]:
    """Refuse what can be refused before anything is loaded."""
    for name in precisions:
        if name not in PRECISIONS:
            raise ExportError(f"unknown precision {name!r}; one of {', '.join(PRECISIONS)}")
    if options.opset not in OPSETS:
        raise ExportError(f"--opset {options.opset} is out of range: {OPSETS.start} to {OPSETS.stop - 1}")
    options.triton.check(options.opset)
    wanted = [PRECISIONS[name] for name in dict.fromkeys(precisions)]
    if options.device != "cpu":
        check_device(options.device)
    if options.calibration_data is not None:
        check_calibration(options.calibration_data, wanted)
    for precision in wanted:
        check_precision(precision, options)
    options.evaluation.check()
    if options.evaluation.data is not None and not options.validate:
        raise ExportError("--eval-data is part of the validation: leave --no-validate out")
    return wanted


def check_precision(precision: Precision, options: ExportOptions) -> None:
    """Refuse a precision that the device cannot run, and settings of a quantisation that are out of range."""
    if options.device.partition(":")[0] not in precision.devices:
        wanted = " or ".join(precision.devices)
        raise ExportError(
            f"--{precision.name} cannot run on {options.device}: {precision.refusal}; use --device {wanted}"
        )
    if precision.name == "int4":
        options.quantization.check(options.calibration_data is not None)


def check_calibration(path: Path, wanted: Sequence[Precision]) -> None:
    """Read the data once before the long work, which reads it again; refuse it where nothing would be quantised."""
    if not any(precision.quantize for precision in wanted):
        names = " and ".join(name for name, precision in PRECISIONS.items() if precision.quantize)
        raise ExportError(f"--calibration-data changes nothing here, only {names} learn from it: leave it out")
    read_samples(path)


class Held:
    """The checkpoint and its graphs in one dtype, for as long as somebody needs them: memory holds one at a time."""

    def __init__(self, load: Callable[[str], Checkpoint]) -> None:
        self.load = load
        self.dtype = ""
        self.kept: Checkpoint | None = None
        self.traced: Traced | None = None

    def checkpoint(self, dtype: str) -> Checkpoint:
        """Loaded, unless it is there already."""
        if self.kept is None or self.dtype != dtype:
            self.drop()
            self.kept, self.dtype = self.load(dtype), dtype
        return self.kept

    def graphs(self, trace: Callable[[Checkpoint], Traced], last: bool) -> Traced:
        """Traced once; handed out for rewriting, so in copies (of the nodes, not of the weights) until the `last`."""
        assert self.kept is not None
        if self.traced is None:
            self.traced = trace(self.kept)
        if last:
            return self.traced
        copies = {name: graph.clone() for name, graph in self.traced.graphs.items()}
        return replace(self.traced, graphs=copies)

    def drop(self) -> None:
        """Let the memory go."""
        self.kept = self.traced = None
        release()


@dataclass(frozen=True)
class Job:
    """One export under way."""

    options: ExportOptions
    source: Source
    row: TaskRow
    precision: Precision
    name: str
    stages: Stages
    evaluation: Evaluation | None = None

    @property
    def dtype(self) -> str:
        """The model is traced in it."""
        return self.precision.traced_dtype(self.options.device)

    def run(self, held: Held, expected: Any, last: bool) -> ExportResult:
        """Write, validate, seal. last: nobody needs the checkpoint in this dtype afterwards."""
        options = self.options
        parameters = held.checkpoint(self.dtype).model.num_parameters()
        with staged_output(
            options.output, self.name, options.version, options.force, self.needed(parameters)
        ) as staging:
            manifest = self.write(held, staging, last)
            if last:
                held.drop()
            checks = self.validate(expected, staging / str(options.version)) if expected else []
            manifest = self.finish(manifest, staging, checks, expected)
        self.write_graph_models(manifest)
        return ExportResult(options.output / self.name, manifest, checks, self.stages.seconds)

    def write_graph_models(self, manifest: Manifest) -> None:
        """The raw graphs for Triton's own backend, where they were asked for."""
        options = self.options
        if options.triton.graph_model:
            from exporter.graph_model import write_graph_models

            with self.stages("graph model"):
                bundle = options.output / self.name / str(options.version)
                release = find_release(options.triton.release)
                write_graph_models(bundle, options.output, manifest, release, options.force)

    def needed(self, parameters: int) -> int:
        """Bytes on disk, with those of the float graph that is probed while it is quantised."""
        per_weight = self.precision.bytes_per_weight + (4 if self.precision.quantize else 0)
        return int(per_weight * parameters * 1.1) + 16 * 2**20

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
        if self.evaluation is not None:
            from exporter.evaluation.run import evaluate_source

            with self.stages("evaluate the source"):
                expected.evaluation = evaluate_source(self.evaluation, checkpoint)
        return expected

    def write(self, held: Held, staging: Path, last: bool) -> Manifest:
        """Trace and write everything but the report and the hashes."""
        from exporter.bundle_writer import traced_graphs, write_bundle

        traced = held.graphs(lambda checkpoint: traced_graphs(self, checkpoint), last)
        return write_bundle(self, held.checkpoint(self.dtype), traced, staging)

    def validate(self, expected: Any, bundle: Path) -> list[Check]:
        """Raises `FailedValidationError` when a check fails."""
        from exporter.validation.run import validate_bundle

        with self.stages("validate"):
            checks = validate_bundle(expected, bundle, self.precision.devices[0])
        if not all(check.passed for check in checks):
            raise FailedValidationError(checks)
        return checks

    def finish(self, manifest: Manifest, staging: Path, checks: list[Check], expected: Any = None) -> Manifest:
        """Write the reports, then the manifest with validation and hashes."""
        from exporter.report.build import write_reports

        bundle = staging / str(self.options.version)
        with self.stages("report"):
            facts, provider = expected.facts if expected else None, self.precision.devices[0]
            write_reports(bundle, manifest, checks, self.stages.seconds, facts, provider)
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
