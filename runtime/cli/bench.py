"""`onward bench`: how large and how fast bundles are, beside each other and beside their source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from runtime.errors import InputError


def parse_sizes(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    """`1,8` -> (1, 8)."""
    sizes = [part.strip() for part in value.split(",") if part.strip()]
    if not sizes or not all(size.isdecimal() and 0 < int(size) <= 1024 for size in sizes):
        raise click.BadParameter(f"{value!r}: numbers from 1 to 1024 with commas between them, such as 1,8")
    return tuple(dict.fromkeys(int(size) for size in sizes))


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--against", metavar="CHECKPOINT", help="Measure the source model in torch as well; ratios are to it.")
@click.option("--batch-size", "batch_sizes", default="1,8", show_default=True, callback=parse_sizes, metavar="N,…")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 100), help="Processes for each side.")
@click.option("--tokens", default=64, show_default=True, type=click.IntRange(1), help="Tokens of a text or prompt.")
@click.option("--new-tokens", default=32, show_default=True, type=click.IntRange(2), help="Tokens that are generated.")
@click.option(
    "--seconds", default=2.0, show_default=True, type=click.FloatRange(0.05), help="For each batch size and round."
)
@click.option("--provider", default="cpu", show_default=True, help="cpu or cuda; the source runs on the same.")
@click.option("--threads", type=click.IntRange(1), help="All cores of this process by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON and nothing else.")
def bench(bundles: tuple[Path, ...], against: str | None, as_json: bool, **options: Any) -> None:
    """Measure BUNDLES: size, load, first answer, memory, latency and throughput by batch size.

    Every round of every side is a process of its own, sides in turn. Ratios are to the source, or to the first bundle;
    above 1 is better.

    \b
    onward bench model_repository/gpt2 model_repository/gpt2-int8
    onward bench model_repository/gpt2 --against openai-community/gpt2 --json
    """
    from rich.console import Console

    from runtime.bench.run import run_rounds, summarise
    from runtime.bench.subjects import Settings, subjects
    from runtime.session import check_provider

    settings = Settings(**options)
    check_provider(settings.provider)
    measured = subjects(list(bundles), against)
    if against is not None:
        check_torch()
    console = Console(stderr=as_json)
    with Console(stderr=True).status("measuring") as status:
        rounds = run_rounds(measured, settings, lambda text: status.update(text))
    records = summarise(measured, rounds, settings)
    if as_json:
        click.echo(json.dumps({"settings": options, "subjects": records}, indent=2))
        return
    from runtime.bench.table import bench_table

    console.print(bench_table(records, title(records[0]["task"], settings)))


def title(task: str, settings: Any) -> str:
    """What was measured."""
    from runtime.session import available_threads

    threads = settings.threads or available_threads()
    return f"{task}, {settings.provider}, {threads} threads, {settings.rounds} rounds"


def check_torch() -> None:
    """`--against` is the one thing here that needs the exporter's packages."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise InputError(f"--against needs {missing[0]}: pip install 'onward[export]', or leave it out")
