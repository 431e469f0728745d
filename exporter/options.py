"""What an export is asked for, and what of it is refused before anything is loaded. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.evaluation.settings import EvaluationSettings
from exporter.quantization.request import Probe, Request, Settings
from exporter.triton_options import TritonOptions
from runtime.errors import ExportError

if TYPE_CHECKING:
    from exporter.precision import Precision

DEFAULT_OPSET = 18
# Triton's own ONNX Runtime backend builds older runtimes: see docker/README.md.
OPSETS = range(18, 24)


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

    def request(self, probe: Probe | None = None) -> Request:
        """What these options ask of a quantisation."""
        return Request(self.device.partition(":")[0], self.quantization, probe, self.calibration_data is not None)


def check_options(options: ExportOptions, precisions: Sequence[str]) -> list[Precision]:
    """Refuse what can be refused before anything is loaded."""
    from exporter.loading import check_device
    from exporter.precision import PRECISIONS

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
    if precision.quantize:
        options.quantization.check(options.calibration_data is not None)


def check_calibration(path: Path, wanted: Sequence[Precision]) -> None:
    """Read the data once before the long work, which reads it again; refuse it where nothing would be quantised."""
    from exporter.precision import PRECISIONS
    from exporter.quantization.samples import read_samples

    if not any(precision.quantize for precision in wanted):
        names = " and ".join(name for name, precision in PRECISIONS.items() if precision.quantize)
        raise ExportError(f"--calibration-data changes nothing here, only {names} learn from it: leave it out")
    read_samples(path)
