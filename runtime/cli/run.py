"""`onward run`: one bundle, one or more inputs, the answer on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from runtime.errors import InputError


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("text", required=False)
@click.option("--task", help="Task; the bundle's own by default.")
@click.option("--provider", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads; all cores of this process by default.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Text generation: most new tokens.")
@click.option("--greedy", is_flag=True, help="Text generation: always the most probable token.")
@click.option("--seed", type=int, help="Text generation: same seed, same text.")
@click.option("--top-k", type=click.IntRange(min=1), help="Classification: how many labels.")
@click.option("-o", "--option", "options", multiple=True, metavar="NAME=JSON", help="Any argument of the pipeline.")
@click.option("--json", "as_json", is_flag=True, help="Print the pipeline's answer as JSON.")
def run(
    bundle: Path, text: str | None, task: str | None, as_json: bool, provider: str, threads: int | None, **given: Any
) -> None:
    """Answer TEXT (or standard input) with BUNDLE. Text generation streams.

    \b
    onward run model_repository/gpt2 "Hello" --max-new-tokens 40
    echo "I love this!" | onward run model_repository/sentiment --json
    onward run model_repository/gpt2 "Hello" -o temperature=0.9 -o 'stop_strings=["."]'
    """
    from runtime.pipelines import pipeline

    pipe = pipeline(task, bundle, provider=provider, threads=threads)
    kwargs = call_arguments(pipe.task, **given)
    question = read_input(text)
    try:
        if pipe.task == "text-generation" and not as_json:
            stream(pipe, question, kwargs)
        else:
            show(pipe(question, **kwargs), as_json)
    finally:
        pipe.close()


def call_arguments(task: str, options: tuple[str, ...], greedy: bool, **given: Any) -> dict[str, Any]:
    """The pipeline's arguments: named options that were given, then NAME=JSON pairs."""
    names = {"text-generation": ("max_new_tokens", "seed"), "text-classification": ("top_k",)}.get(task, ())
    for name, value in given.items():
        if value is not None and name not in names:
            raise InputError(f"--{name.replace('_', '-')} means nothing for {task}")
    arguments = {name: given[name] for name in names if given[name] is not None}
    if greedy:
        arguments["do_sample"] = False
    return arguments | dict(parse_option(option) for option in options)


def parse_option(option: str) -> tuple[str, Any]:
    """`temperature=0.9` -> ("temperature", 0.9); what is no JSON is taken as text."""
    name, equals, value = option.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"-o takes NAME=JSON, not {option!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def read_input(text: str | None) -> str:
    """The argument, or standard input without its last newline."""
    if text is not None:
        return text
    if sys.stdin.isatty():
        raise InputError("nothing to answer: give a text, or pipe one in")
    try:
        return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 (byte {error.start})") from error


def stream(pipe: Any, question: str, kwargs: dict[str, Any]) -> None:
    """Print the prompt and each piece of text as it comes."""
    pieces = pipe.submit(question, **kwargs)
    click.echo(question, nl=False)
    try:
        for piece in pieces:
            click.echo(piece, nl=False)
            sys.stdout.flush()
    finally:
        pieces.cancel()
        click.echo()


def show(answer: Any, as_json: bool) -> None:
    """Print an answer: as JSON, or one `score  label` per line for rankings."""
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, default=float))
        return
    for item in answer if isinstance(answer, list) else [answer]:
        if isinstance(item, dict) and {"label", "score"} <= item.keys():
            click.echo(f"{item['score']:.4f}  {item['label']}")
        else:
            click.echo(json.dumps(item, ensure_ascii=False, default=float))
