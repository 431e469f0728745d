"""`onward tasks`: what can be exported and run."""

from __future__ import annotations

import json

import click

from runtime.pipelines.registry import TASKS


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def tasks(as_json: bool) -> None:
    """List the tasks with their other names, inputs and outputs."""
    rows = [
        {"task": row.name, "aliases": list(row.aliases), "inputs": row.inputs, "outputs": row.outputs}
        for row in TASKS.values()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    names = Column("task", no_wrap=True), Column("also called", no_wrap=True)
    table = Table(*names, Column("takes", overflow="fold"), Column("gives", overflow="fold"))
    for row in TASKS.values():
        table.add_row(row.name, ", ".join(row.aliases), Text(row.inputs), Text(row.outputs))
    Console().print(table)
