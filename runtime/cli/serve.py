"""`onward serve`: a real tritonserver on a model repository, with a ready-made request for every model."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from runtime.triton.server import TritonServer

# What a first request to each task looks like.
EXAMPLES: dict[str, dict[str, object]] = {
    "text-classification": {"text": "A very good day.", "top_k": 2},
    "text-generation": {"text_input": "Once upon a time", "max_tokens": 32},
}


@click.command()
@click.argument("repository", default="model_repository", type=click.Path(path_type=Path))
@click.option("--http-port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--grpc-port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option(
    "--metrics-port", default=8002, show_default=True, type=click.IntRange(0, 65535), help="0: any free port."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--python", default=sys.executable, type=click.Path(), help="Interpreter whose packages the models use.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds that loading may take.")
def serve(
    repository: Path, http_port: int, grpc_port: int, metrics_port: int, host: str, python: str, timeout: float
) -> None:
    """Serve the bundles in REPOSITORY with a Triton server that is installed here; Ctrl-C ends it.

    The server is `tritonserver` on PATH, or the one in the `nvidia-pytriton` package. Ends with 0 when it was asked to
    stop, with 1 when it could not start or ended by itself.
    """
    from rich.console import Console

    from runtime.triton.server import TritonServer

    console = Console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with TritonServer() as server:
            with console.status(f"starting Triton on {repository}"):
                server.start(repository, http_port or None, grpc_port or None, metrics_port or None, host, python)
                server.wait_ready(timeout)
            _show(console, server, repository)
            server.wait()
    except KeyboardInterrupt:
        console.print("Stopped.")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(console: Console, server: TritonServer, repository: Path) -> None:
    from rich.table import Table

    table = Table("model", "version", "task", "state")
    models = server.models()
    for model in models:
        table.add_row(model.name, model.version, _task(repository, model.name, model.version) or "?", model.state)
    console.print(table)
    for protocol in ("http", "grpc", "metrics"):
        console.print(f"{protocol:8} {server.address(protocol)}{'/metrics' if protocol == 'metrics' else ''}")
    for model in models:
        example = EXAMPLES.get(_task(repository, model.name, model.version))
        if example:
            # Not wrapped and without markup: it is there to be copied.
            console.print(curl(server.address("http"), model.name, example), soft_wrap=True, markup=False)
    console.print("Ctrl-C stops the server.")


def curl(address: str, model: str, body: dict[str, object]) -> str:
    """A shell line that sends one request to the model."""
    return f"curl -s http://{address}/v2/models/{model}/generate -d '{json.dumps(body)}'"


def _task(repository: Path, model: str, version: str) -> str:
    """The task of a bundle; "" for a model that is none of ours."""
    from runtime.bundle import open_bundle
    from runtime.errors import BundleError

    try:
        return open_bundle(repository / model, int(version), verify=False).manifest.task
    except (BundleError, ValueError):
        return ""
