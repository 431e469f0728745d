"""`onward export`: a checkpoint becomes a bundle, or the command fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.errors import OnwardError

if TYPE_CHECKING:
    from exporter.export import ExportOptions, ExportResult


@click.command()
@click.argument("source")
@click.option("--task", help="Task, or a synonym of it; inferred from the checkpoint's architecture by default.")
@click.option("--fp32", "precision", flag_value="fp32", default=True, help="Weights in float32 (the default).")
@click.option("--fp16", "precision", flag_value="fp16", help="Weights in float16.")
@click.option(
    "--device", default="cpu", show_default=True, help="Where torch runs during the export: cpu, cuda, cuda:N."
)
@click.option(
    "--output",
    default="model_repository",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Model repository to write to.",
)
@click.option("--name", help="Name of the model; the last part of SOURCE by default.")
@click.option("--version", default=1, show_default=True, type=click.IntRange(min=1), help="Version of the model.")
@click.option("--force", is_flag=True, help="Replace a version that exists.")
@click.option("--opset", default=18, show_default=True, type=click.IntRange(18, 23), help="ONNX opset.")
@click.option("--revision", help="Branch, tag or commit on the hub.")
@click.option("--token", envvar="HF_TOKEN", help="Hub token; read from HF_TOKEN.", metavar="TOKEN")
@click.option("--trust-remote-code", is_flag=True, help="Run model code that the checkpoint brings. Read it first.")
@click.option("--no-validate", is_flag=True, help="Skip the comparison with the source model.")
@click.option("--max-length", type=click.IntRange(min=2), help="Context of the bundle; the model's own by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def export(no_validate: bool, as_json: bool, **options: Any) -> None:
    """Export SOURCE (a hub id, a directory, a Trainer's output, a PEFT adapter) to a verified ONNX bundle.

    \b
    onward export openai-community/gpt2 --task text-generation --fp16
    onward export ./my-finetuned-bert --name sentiment
    """
    export_options = load_exporter()(**options, validate=not no_validate)
    result = export_quietly(export_options) if as_json else export_visibly(export_options)
    if as_json:
        click.echo(json.dumps(result_json(result), indent=2))


def load_exporter() -> type[ExportOptions]:
    """The exporter, which needs the `export` extra."""
    try:
        import onnxscript
        import torch  # noqa: F401
        import transformers  # noqa: F401

        from exporter.export import ExportOptions
    except ImportError as error:
        raise OnwardError(f"exporting needs {error.name}: pip install 'onward[export]'") from error
    del onnxscript
    return ExportOptions


def export_quietly(options: ExportOptions) -> ExportResult:
    """Without any output but the result's."""
    from exporter.export import run_export

    return run_export(options)


def export_visibly(options: ExportOptions) -> ExportResult:
    """With the stages live, and a table at the end; the table of checks when they failed."""
    from rich.console import Console

    from exporter.export import run_export
    from exporter.stages import Stages
    from exporter.validation.checks import FailedValidationError
    from runtime.cli.export_view import LiveStages, show_checks, show_result

    console = Console(stderr=True)
    try:
        with LiveStages(console) as view:
            result = run_export(options, Stages(view))
    except FailedValidationError as error:
        show_checks(console, error.checks)
        raise
    show_result(console, result)
    return result


def result_json(result: ExportResult) -> dict[str, Any]:
    """What a script wants to know."""
    manifest = result.manifest
    return {
        "directory": str(result.directory),
        "name": manifest.name,
        "version": manifest.version,
        "task": manifest.task,
        "architecture": manifest.architecture,
        "precision": manifest.precision,
        "path": manifest.path,
        "path_reason": manifest.path_reason,
        "validation": manifest.validation,
        "seconds": {name: round(seconds, 3) for name, seconds in result.seconds.items()},
    }
