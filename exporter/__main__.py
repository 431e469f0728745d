"""`python -m exporter SOURCE ...` is `onward export SOURCE ...`."""

from runtime.cli import run_command
from runtime.cli.export import export

if __name__ == "__main__":
    run_command(export, prog_name="python -m exporter")
