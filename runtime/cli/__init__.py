"""The `onward` command: one file per subcommand, imported only when it is used, so that `--help` stays instant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from runtime.errors import OnwardError

# Name -> (module:command, one line for --help, written here so that listing imports nothing).
COMMANDS = {
    "export": ("runtime.cli.export:export", "Turn a checkpoint into a verified bundle."),
    "validate": ("runtime.cli.validate:validate", "Check a bundle against its checkpoint again."),
    "run": ("runtime.cli.run:run", "Answer with a bundle, here and now."),
    "serve": ("runtime.cli.serve:serve", "Serve bundles with tritonserver."),
    "tasks": ("runtime.cli.tasks:tasks", "List the tasks, their inputs and outputs."),
    "doctor": ("runtime.cli.doctor:doctor", "Say what this machine can do."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List names and lines of the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="onward")
def cli() -> None:
    """Takes any Hugging Face checkpoint onward to ONNX Runtime and NVIDIA Triton.

    \b
    onward export openai-community/gpt2 --task text-generation --fp16
    onward run model_repository/gpt2 "Hello"
    onward serve model_repository
    """


def main() -> None:
    """Entry point of `onward`."""
    run_command(cli)


def run_command(command: Callable[..., Any], **kwargs: Any) -> None:
    """Run a click command; mistakes of the user end it with one line and exit code 1, without a traceback."""
    try:
        command(**kwargs)
    except OnwardError as error:
        click.echo(click.style("error: ", fg="red", bold=True, reset=True) + str(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
