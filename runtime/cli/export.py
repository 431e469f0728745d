"""`onward export`: a checkpoint becomes a bundle, or the command fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtime.cli.evaluation_options import evaluation_options, take_settings
from runtime.cli.triton_options import take_triton, triton_options
from runtime.errors import OnwardError

if TYPE_CHECKING:
    from exporter.export import ExportOptions, ExportResult, Outcome

Command = TypeVar("Command", bound=Callable[..., Any] | click.Command)


PRECISIONS = "onward.precisions"  # in click's context: those asked for, in their order


def precision_flag(name: str, text: str) -> Callable[[Command], Command]:
    """A flag that adds a precision to those asked for."""

    def add(ctx: click.Context, _: click.Parameter, given: bool) -> None:
        if given:
            ctx.meta.setdefault(PRECISIONS, []).append(name)

    return click.option(f"--{name}", is_flag=True, expose_value=False, callback=add, help=text)


def add_precisions(ctx: click.Context, _: click.Parameter, names: str | None) -> None:
    """Those of `--precision a,b`."""
    wanted = [name.strip() for name in names.split(",")] if names is not None else []
    ctx.meta.setdefault(PRECISIONS, []).extend(wanted)


@click.command()
@click.argument("source")
@click.option("--task", help="Task, or a synonym of it; inferred from the checkpoint's architecture by default.")
@precision_flag("fp32", "Weights in float32 (the default).")
@precision_flag("fp16", "Weights in float16.")
@precision_flag("bf16", "Weights in bfloat16; with --device cuda.")
@precision_flag("int8", "Matrix weights in 8 bit.")
@precision_flag("int4", "Matrix weights in 4 bit, in 8 bit where that loses too much.")
@click.option(
    "--precision",
    metavar="NAMES",
    expose_value=False,
    callback=add_precisions,
    help="Several at once, as in fp16,int4: one bundle each, called NAME-fp16 and NAME-int4, the source asked once. "
    "The flags above combine to the same end. Bundles that pass stay when another one fails; the exit code is 1.",
)
@click.option(
    "--block-size",
    type=click.Choice([16, 32, 64, 128]),
    help="Weights that share a scale in 4 bit; by default 128, and 32 where those lose too much.",
)
@click.option(
    "--int4-method",
    "method",
    default="rtn",
    show_default=True,
    type=click.Choice(["rtn", "hqq", "gptq"]),
    help="Rounding to nearest with searched scales; half-quadratic; GPTQ, which learns from --calibration-data.",
)
@click.option(
    "--int4-symmetric/--int4-asymmetric", "symmetric", default=False, help="Without or with zero points (the default)."
)
@click.option(
    "--int4-embeddings",
    "embedding_bits",
    type=click.Choice([8, 4]),
    help="Bits of embeddings and of the last product before an output; by default 8, and 4 for a last product "
    "(with the embeddings tied to it) where probes show that its probabilities hardly move.",
)
@click.option(
    "--int8-method",
    default="fastest",
    show_default=True,
    type=click.Choice(["fastest", "dynamic", "weights"]),
    help="On a CPU: integer products, or weights alone in 8 bit (which may be faster in single steps, and slower in "
    "prompts and batches); by default both are timed here.",
)
@click.option(
    "--calibration-data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Texts (.jsonl, .csv, .txt), arrays (.npz) or a directory of images like those to come: int8 convolutions and "
    "GPTQ learn from them.",
)
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
@evaluation_options
@triton_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
@click.pass_context
def export(ctx: click.Context, /, no_validate: bool, as_json: bool, **options: Any) -> None:
    """Export SOURCE (a hub id, a directory, a Trainer's output, a PEFT adapter) to a verified ONNX bundle.

    \b
    onward export openai-community/gpt2 --task text-generation --fp16
    onward export openai-community/gpt2 --precision fp16,int8,int4
    onward export ./my-finetuned-bert --name sentiment
    """
    load_exporter()
    from exporter.export import ExportOptions
    from exporter.quantization.request import Settings

    settings = Settings(**{field.name: options.pop(field.name) for field in fields(Settings)})
    options["triton"] = take_triton(options)
    evaluation = take_settings(options)
    export_options = ExportOptions(**options, validate=not no_validate, quantization=settings, evaluation=evaluation)
    precisions = list(dict.fromkeys(ctx.meta.get(PRECISIONS) or ["fp32"]))
    outcomes = export_quietly(export_options, precisions) if as_json else export_visibly(export_options, precisions)
    if as_json:
        found = [outcome_json(outcome) for outcome in outcomes]
        click.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2))
    if failed := [f"{outcome.precision}: {outcome.error}" for outcome in outcomes if outcome.error]:
        raise OnwardError(f"{len(failed)} of {len(outcomes)} precisions failed: {'; '.join(failed)}")


def load_exporter() -> None:
    """Raise `OnwardError` unless the `export` extra is there. What takes seconds and memory is not imported here."""
    try:
        for name in ("onnxscript", "torch", "transformers"):
            if find_spec(name) is None:
                raise ModuleNotFoundError(f"no {name}", name=name)
        import exporter.export  # noqa: F401
    except ImportError as error:
        raise OnwardError(f"exporting needs {error.name}: pip install 'onward[export]'") from error


def export_quietly(options: ExportOptions, precisions: list[str]) -> list[Outcome]:
    """Without any output but the results'. The error of a single precision is raised."""
    from exporter.export import run_exports

    return raised_if_alone(run_exports(options, precisions))


def export_visibly(options: ExportOptions, precisions: list[str]) -> list[Outcome]:
    """With the stages live, and a table at the end; the table of checks of what failed them."""
    from rich.console import Console

    from exporter.export import run_exports
    from exporter.stages import Stages
    from runtime.cli.export_view import LiveStages, show_checks, show_precisions, show_result

    console = Console(stderr=True)
    with LiveStages(console) as view:
        outcomes = run_exports(options, precisions, Stages(view))
    from exporter.validation.checks import FailedValidationError  # it takes memory, which an export needs

    for outcome in outcomes:
        if isinstance(outcome.error, FailedValidationError):
            show_checks(console, outcome.error.checks)
        elif outcome.result is not None:
            show_result(console, outcome.result)
    if len(outcomes) > 1:
        show_precisions(console, outcomes)
    return raised_if_alone(outcomes)


def raised_if_alone(outcomes: list[Outcome]) -> list[Outcome]:
    """The outcomes; the error of an export in one precision as it is."""
    if len(outcomes) == 1 and outcomes[0].error is not None:
        raise outcomes[0].error
    return outcomes


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """A result, or what went wrong."""
    if outcome.result is not None:
        return result_json(outcome.result)
    return {"precision": outcome.precision, "error": str(outcome.error)}


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
