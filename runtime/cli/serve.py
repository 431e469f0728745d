"""`onward serve`: a real tritonserver on a model repository, with a ready-made request for every model."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from runtime.triton.server import TritonServer

# A small grey picture, for tasks that take images.
_PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAGUlEQVR4nGNsYMAPmAjIjyoYVTCqYNgqAACXvgDAMsm0fAAAAABJRU5ErkJggg=="
)
# What a first request to each task looks like.
EXAMPLES: dict[str, dict[str, object]] = {
    "text-classification": {"text": "A very good day.", "top_k": 2},
    "token-classification": {"text": "Anna lives in Lisbon.", "aggregation_strategy": "simple"},
    "question-answering": {"question": "Where does Anna live?", "context": "Anna lives in Lisbon."},
    "zero-shot-classification": {"text": "It rains.", "candidate_labels": ["weather", "sport"]},
    "feature-extraction": {"text": "A very good day."},
    "sentence-similarity": {"text": "A good day.", "source_sentence": "A nice day."},
    "text-generation": {"text_input": "Once upon a time", "max_tokens": 32},
    "text2text-generation": {"text": "A very good day.", "max_new_tokens": 32},
    "summarization": {"text": "It was a very good day, and everybody said so.", "max_new_tokens": 32},
    "translation": {"text": "A very good day.", "max_new_tokens": 32},
    "image-classification": {"image": _PICTURE},
    "object-detection": {"image": _PICTURE},
    "image-to-text": {"image": _PICTURE, "max_new_tokens": 32},
}


@click.command()
@click.argument("repository", default="model_repository", type=click.Path(path_type=Path))
@click.option("--http-port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--grpc-port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option(
    "--metrics-port", default=8002, show_default=True, type=click.IntRange(0, 65535), help="0: any free port."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--python",
    default=sys.executable,
    envvar="ONWARD_SERVE_PYTHON",
    type=click.Path(),
    help="Interpreter whose packages the models use; also from ONWARD_SERVE_PYTHON.",
)
@click.option("--poll", type=click.IntRange(min=1), help="Look for new and changed versions every so many seconds.")
@click.option("--explicit", is_flag=True, help="Load everything now, and again only when a client asks for it.")
@click.option(
    "--timeout",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that loading may take.",
)
def serve(repository: Path, http_port: int, grpc_port: int, metrics_port: int, timeout: float, **options: Any) -> None:
    """Serve the bundles in REPOSITORY with a Triton server that is installed here; Ctrl-C ends it.

    The server is `tritonserver` on PATH, or the one in the `nvidia-pytriton` package. Models that do not load are named
    with the reason, the others are served. With --poll an export of a new version is picked up; requests under way end
    on the version they began with. Ends with 0 when it was asked to stop, with 1 when it could not start, no model
    loaded, or it ended by itself.
    """
    from rich.console import Console

    from runtime.triton.server import TritonServer

    console = Console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with TritonServer() as server:
            with console.status(f"starting Triton on {repository}"):
                server.start(repository, http_port or None, grpc_port or None, metrics_port or None, **options)
                server.wait_ready(timeout, all_models=False)
            _show(console, server, repository, reload=reload_hint(**options))
            server.wait()
    except KeyboardInterrupt:
        console.print("Stopped.")


def reload_hint(poll: int | None, explicit: bool, **_: Any) -> str:
    """How a new version gets served; `{http}` stands for the server's address."""
    if poll is not None:
        return f"New versions are picked up within {poll} s."
    if explicit:
        return "New versions are picked up by: curl -X POST {http}/v2/repository/models/<name>/load"
    return ""


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(console: Console, server: TritonServer, repository: Path, reload: str = "") -> None:
    from rich.table import Table

    table = Table("model", "version", "task", "state")
    models = server.models()
    ready = [model for model in models if model.state == "READY"]
    for model in models:
        table.add_row(model.name, model.version, _task(repository, model.name, model.version) or "?", model.state)
    console.print(table)
    for reason in server.failed(models):
        console.print(f"not loaded: {reason}", soft_wrap=True, markup=False, style="red")
    for protocol in ("http", "grpc", "metrics"):
        console.print(f"{protocol:8} {server.address(protocol)}{'/metrics' if protocol == 'metrics' else ''}")
    for model in ready:
        example = EXAMPLES.get(_task(repository, model.name, model.version))
        if example:
            # Not wrapped and without markup: it is there to be copied.
            console.print(curl(server.address("http"), model.name, example), soft_wrap=True, markup=False)
    if reload:
        console.print(reload.format(http=server.address("http")), soft_wrap=True, markup=False)
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
