"""The options of an evaluation, which `onward export` and `onward validate` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.options import Command, add_options

if TYPE_CHECKING:
    from exporter.evaluation.settings import EvaluationSettings

OPTIONS = (
    click.option(
        "--eval-data",
        type=click.Path(path_type=Path),
        help="Evaluation data: .jsonl, .csv, or a directory that datasets saved. Measures the task's metric of the "
        "source and of the bundle.",
    ),
    click.option(
        "--eval-columns",
        metavar="ROLE=COLUMN,…",
        help="Which column is what, as in text=sentence,label=gold; guessed by their names by default. One column of 0 "
        "and 1 for each label: toxic=is_toxic,insult=is_insult.",
    ),
    click.option("--eval-limit", type=click.IntRange(min=1), help="Rows to evaluate, from the first; all by default."),
    click.option(
        "--max-drop",
        type=click.FloatRange(min=0),
        help="Points of 100 (per cent of perplexity) that the metric may lose, or it fails: by default 0.1 in fp32, "
        "0.5 in fp16 and bf16, 1 in int8, 5 in int4.",
    ),
)


def evaluation_options(command: Command) -> Command:
    """Add the options to a click command."""
    return add_options(command, OPTIONS)


def take_settings(options: dict[str, Any]) -> EvaluationSettings:
    """The settings, taken out of a command's options."""
    from exporter.evaluation.settings import EvaluationSettings

    return EvaluationSettings(
        data=options.pop("eval_data"),
        columns=options.pop("eval_columns"),
        limit=options.pop("eval_limit"),
        max_drop=options.pop("max_drop"),
    )
