"""`onward run`: one bundle, one or more inputs, the answer on standard output."""

from __future__ import annotations

import json
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec

from runtime.cli.answers import line, make_question
from runtime.errors import InputError

# The named options that a task has a use for.
NAMED_OPTIONS = {
    "text-generation": ("max_new_tokens", "seed", "greedy"),
    "text-classification": ("top_k",),
    "fill-mask": ("top_k",),
    "question-answering": ("top_k",),
    "image-classification": ("top_k",),
    "object-detection": ("threshold",),
}


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("text", required=False)
@click.option("--task", help="Task; the bundle's own by default.")
@click.option("--provider", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads; all cores of this process by default.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Text generation: most new tokens.")
@click.option("--greedy", is_flag=True, help="Text generation: always the most probable token.")
@click.option("--seed", type=int, help="Text generation: same seed, same text.")
@click.option("--top-k", type=click.IntRange(min=1), help="How many labels or answers.")
@click.option("--threshold", type=float, help="Object detection: scores above it are shown, 0.5 by default.")
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE", help="Object detection: draw the boxes.")
@click.option("-o", "--option", "options", multiple=True, metavar="NAME=JSON", help="Any argument of the pipeline.")
@click.option("--json", "as_json", is_flag=True, help="Print the pipeline's answer as JSON.")
def run(
    bundle: Path,
    text: str | None,
    task: str | None,
    as_json: bool,
    provider: str,
    threads: int | None,
    save: Path | None,
    **given: Any,
) -> None:
    """Answer TEXT (or standard input) with BUNDLE: a text, or for vision tasks an image. Text generation streams.

    \b
    onward run model_repository/gpt2 "Hello" --max-new-tokens 40
    echo "I love this!" | onward run model_repository/sentiment --json
    onward run model_repository/gpt2 "Hello" -o temperature=0.9 -o 'stop_strings=["."]'
    onward run model_repository/detr street.png --threshold 0.7 --save boxes.png
    onward run model_repository/qa "Where does Anna live?" -o context="Anna lives in Lisbon."
    """
    from runtime.cli.images import check_save, read_image, reads_images, save_drawing
    from runtime.pipelines import pipeline

    pipe = pipeline(task, bundle, provider=provider, threads=threads)
    kwargs = call_arguments(pipe.task, **given)
    check_arguments(pipe, kwargs)
    check_save(pipe, save)
    question = read_image(text) if reads_images(pipe) else make_question(pipe.task, read_input(text), kwargs)
    try:
        if not as_json and can_stream(pipe, kwargs):
            stream(pipe, question, kwargs)
        else:
            answer = pipe(question, **kwargs)
            show(answer, as_json)
            if save is not None:
                save_drawing(question, answer, save)
    finally:
        pipe.close()


def call_arguments(task: str, options: tuple[str, ...], greedy: bool, **given: Any) -> dict[str, Any]:
    """The pipeline's arguments: named options that were given, then NAME=JSON pairs."""
    arguments = {name: value for name, value in {**given, "greedy": greedy or None}.items() if value is not None}
    for name in arguments:
        if name not in NAMED_OPTIONS.get(task, ()):
            raise InputError(f"--{name.replace('_', '-')} means nothing for {task}; -o passes any of its arguments")
    if arguments.pop("greedy", False):
        arguments["do_sample"] = False
    return arguments | dict(parse_option(option) for option in options)


def check_arguments(pipe: Any, arguments: dict[str, Any]) -> None:
    """Raise `InputError` for a name or type that text classification would not take; other tasks check their own."""
    if pipe.task != "text-classification":
        return
    known = tokenising_arguments(pipe)
    for name, value in arguments.items():
        if name not in known:
            close = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]}?" if close else f": it has {', '.join(sorted(known))}"
            raise InputError(f"{pipe.task} has no argument {name!r}{hint}")
        try:
            msgspec.convert(value, known[name])
        except msgspec.ValidationError as error:
            raise InputError(f"{name}={value!r}: {error}") from error


def tokenising_arguments(pipe: Any) -> dict[str, Any]:
    """Name -> type of what text classification takes, which hands all keywords it does not know to its tokenizer."""
    own, tokenizer = get_type_hints(pipe._sanitize_parameters), get_type_hints(pipe.tokenizer.__call__)
    # What changes the shape of the inputs or adds columns that no model reads is for the tokenizer's own callers.
    useless = {"text", "text_pair", "stride", "is_split_into_words", "tokenizer_kwargs", "return"}
    kept = {name: hint for name, hint in (own | tokenizer).items() if name not in useless}
    return {name: hint for name, hint in kept.items() if not name.startswith("return_")} | {"batch_size": int}


def can_stream(pipe: Any, kwargs: dict[str, Any]) -> bool:
    """Whether the answer is one text that grows: not with several sequences at once."""
    if pipe.task != "text-generation":
        return False
    counts = [kwargs.get(name, pipe.manifest.generation.get(name)) for name in ("num_beams", "num_return_sequences")]
    return all(count in (None, 1) for count in counts)


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
    if sys.stdin is None or sys.stdin.isatty():
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
    """Print an answer: as JSON, or one `score  label` per line for rankings, one text for each that was generated."""
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, default=float))
        return
    for item in answer if isinstance(answer, list) else [answer]:
        if isinstance(item, dict) and {"label", "score"} <= item.keys():
            click.echo(
                f"{item['score']:.4f}  {item['label']}" + "".join(f"  {x}={v}" for x, v in item.get("box", {}).items())
            )
        elif isinstance(item, dict) and isinstance(item.get("generated_text"), str):
            click.echo(item["generated_text"])
        else:
            click.echo(line(item))
