"""`onward tasks`: what can be exported and run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from runtime.pipelines.architectures import ARCHITECTURES
from runtime.pipelines.registry import TASKS, TaskEntry, find_task

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.argument("task", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def tasks(task: str | None, as_json: bool) -> None:
    """List the tasks with their other names, inputs and outputs; of one TASK, the architectures as well."""
    entries = list(TASKS.values()) if task is None else [find_task(task)]
    if as_json:
        click.echo(json.dumps([facts(entry) for entry in entries], indent=2))
        return
    from rich.console import Console

    Console().print(overview(entries) if task is None else details(entries[0]))


def facts(entry: TaskEntry) -> dict[str, object]:
    """All that is known about a task. architectures: model types that transformers has a head of the task for."""
    return {
        "task": entry.name,
        "aliases": list(entry.aliases),
        "inputs": entry.inputs,
        "outputs": entry.outputs,
        "architectures": list(ARCHITECTURES[entry.name]),
    }


def overview(entries: list[TaskEntry]) -> Table:
    """A line a task."""
    from rich.table import Column, Table
    from rich.text import Text

    names = Column("task", no_wrap=True), Column("also called", no_wrap=True)
    folded = Column("takes", overflow="fold"), Column("gives", overflow="fold")
    table = Table(*names, *folded, caption="`onward tasks TASK` lists the architectures of a task")
    for entry in entries:
        table.add_row(entry.name, ", ".join(entry.aliases), Text(entry.inputs), Text(entry.outputs))
    return table


def details(entry: TaskEntry) -> Table:
    """A line a fact."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    for name, value in facts(entry).items():
        table.add_row(name, Text(", ".join(value) if isinstance(value, list) else str(value)))
    return table
