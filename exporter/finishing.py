"""The second half of an export, which needs the runtime and no torch: validate, report, seal, put in its place."""

from __future__ import annotations

from pathlib import Path

from exporter.making import Made, Work
from exporter.memory import release
from exporter.options import ExportOptions
from exporter.precision import PRECISIONS
from exporter.results import ExportResult, Outcome
from exporter.sealing import replace_manifest, seal
from exporter.stages import Stages
from exporter.staging import Stagings
from exporter.triton_options import find_release
from exporter.validation.checks import Check, FailedValidationError, summary
from exporter.validation.run import Expectation, validate_answers
from runtime.bundle import Manifest
from runtime.errors import OnwardError


def finish_all(options: ExportOptions, work: Work, stages: Stages, stagings: Stagings) -> list[Outcome]:
    """One precision after the other; an error of one leaves the others alone."""
    from exporter.report.siblings import compare

    found = []
    for made in work.made:
        part = stages if len(work.made) == 1 else stages.under(f"{made.precision}: ")
        part.seconds.update(made.seconds)
        try:
            result = Finish(options, made.precision, part).run(made, work.expected, stagings)
            found.append(Outcome(made.precision, result))
        except OnwardError as error:
            found.append(Outcome(made.precision, None, error))
    if len(found) > 1:
        compare(found)
    return found


class Finish:
    """One bundle."""

    def __init__(self, options: ExportOptions, precision: str, stages: Stages) -> None:
        self.options = options
        self.precision = PRECISIONS[precision]
        self.provider = self.precision.devices[0]
        self.stages = stages

    def run(self, made: Made, expected: Expectation | None, stagings: Stagings) -> ExportResult:
        """Validate, seal. Raises what stopped it before, and `FailedValidationError`."""
        with stagings.closing(made.name):
            if made.error is not None:
                raise made.error
            assert made.staging is not None and made.manifest is not None
            bundle = made.staging / str(self.options.version)
            checks = [*made.checks, *self.validate(expected, bundle)] if expected else []
            if not all(check.passed for check in checks):
                raise FailedValidationError(checks, self.advice(checks))
            manifest = self.seal(made.manifest, bundle, checks, expected)
        self.write_graph_models(manifest)
        return ExportResult(self.options.output / made.name, manifest, checks, self.stages.seconds)

    def advice(self, checks: list[Check]) -> str:
        """What loses less, where numbers that the graphs gave are what failed."""
        if not any(check.figures for check in checks if not check.passed and check.point != "inputs"):
            return ""
        return self.precision.advice(self.options.request())

    def validate(self, expected: Expectation, bundle: Path) -> list[Check]:
        """What the graphs say."""
        with self.stages("validate"):
            checks = validate_answers(expected, bundle, self.provider)
        release()
        return checks

    def seal(self, manifest: Manifest, bundle: Path, checks: list[Check], expected: Expectation | None) -> Manifest:
        """Write the reports, then the manifest with validation and hashes."""
        from exporter.report.build import write_reports

        with self.stages("report"):
            facts = expected.facts if expected else None
            write_reports(bundle, manifest, checks, self.stages.seconds, facts, self.provider)
        with self.stages("seal"):
            validation = summary(checks) if checks else {"passed": None, "reason": "--no-validate"}
            return seal(replace_manifest(manifest, validation=validation), bundle)

    def write_graph_models(self, manifest: Manifest) -> None:
        """The raw graphs for Triton's own backend, where they were asked for."""
        options = self.options
        if options.triton.graph_model:
            from exporter.graph_model import write_graph_models

            with self.stages("graph model"):
                bundle = options.output / manifest.name / str(options.version)
                triton = find_release(options.triton.release)
                write_graph_models(bundle, options.output, manifest, triton, options.force)
