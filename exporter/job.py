"""One precision of an export: load, ask, trace, write. What takes seconds to import is imported by the stage that
needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.held import Held
from exporter.loading import Checkpoint, load_checkpoint
from exporter.memory import release
from exporter.options import ExportOptions
from exporter.precision import Precision
from exporter.source import Source
from exporter.stages import Stages
from exporter.tasks import TaskRow
from exporter.validation.checks import Check
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

    def write(self, held: Held, last: bool, open_staging: Callable[[str, int], Path]) -> tuple[Path, Manifest]:
        """Trace and write everything but the report and the hashes. last: nobody needs the checkpoint in this dtype
        afterwards."""
        from exporter.bundle_writer import traced_graphs, write_bundle

        parameters = held.checkpoint(self.dtype).model.num_parameters()
        staging = open_staging(self.name, self.needed(parameters))
        traced = held.graphs(lambda checkpoint: traced_graphs(self, checkpoint), last)
        manifest = write_bundle(self, held.checkpoint(self.dtype), traced, staging)
        if last:
            held.drop()
        return staging, manifest

    def compare_inputs(self, expected: Any, staging: Path) -> list[Check]:
        """What the runtime would feed to the graph, against HF's."""
        from exporter.validation.run import compare_inputs

        with self.stages("compare inputs"):
            return compare_inputs(expected, staging / str(self.options.version))
