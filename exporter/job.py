"""One export: trace, write, validate, seal. What takes seconds to import is imported by the stage that needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.held import Held
from exporter.loading import Checkpoint, load_checkpoint
from exporter.memory import release
from exporter.options import ExportOptions
from exporter.output import staged_output
from exporter.precision import Precision
from exporter.results import ExportResult
from exporter.sealing import replace_manifest, seal
from exporter.source import Source
from exporter.stages import Stages
from exporter.tasks import TaskRow
from exporter.triton_options import find_release
from exporter.validation.checks import Check, FailedValidationError, summary
from runtime.bundle import Manifest

if TYPE_CHECKING:
    from exporter.evaluation.run import Evaluation


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
                triton = find_release(options.triton.release)
                write_graph_models(bundle, options.output, manifest, triton, options.force)

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
        release()
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
        release()
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
