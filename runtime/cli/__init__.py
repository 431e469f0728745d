"""The `onward` command: one file per subcommand, imported only when it is used, so that `--help` stays instant."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import click

from runtime.errors import OnwardError

# Name -> (module:command, one line for --help, written here so that listing imports nothing).
COMMANDS = {
    "export": ("runtime.cli.export:export", "Turn a checkpoint into a verified bundle."),
    "validate": ("runtime.cli.validate:validate", "Check a bundle against its checkpoint again."),
    "run": ("runtime.cli.run:run", "Answer with a bundle, here and now."),
    "bench": ("runtime.cli.bench:bench", "Measure size, latency and throughput of bundles."),
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the closest name in the error for an unknown one."""
        close = get_close_matches(args[0], COMMANDS, n=1) if args[0] not in COMMANDS else []
        if close:
            ctx.fail(f"No such command '{args[0]}'. Did you mean {close[0]}?")
        return super().resolve_command(ctx, args)

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


def run_command(command: click.Command, **kwargs: Any) -> None:
    """Run a click command and exit: mistakes of the user and the system's refusals end it with one line, code 1.

    Ctrl-C ends it with 130, the shell's convention; wrong usage with click's 2.
    """
    try:
        # Not standalone: click would turn Ctrl-C into exit code 1.
        sys.exit(command(standalone_mode=False, **kwargs))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except OnwardError as error:
        fail(str(error))
    except MemoryError:
        fail("out of memory: close other programs, or take a machine with more")
    except OSError as error:  # a file system's: no space, no permission, too large, too many open files
        fail(" ".join(str(part) for part in (error.strerror or error, error.filename) if part is not None))


def fail(message: str) -> NoReturn:
    """End with one line on standard error and code 1."""
    click.echo(click.style("error: ", fg="red", bold=True, reset=True) + message, err=True)
    sys.exit(1)
