"""The options of an export that are about Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runtime.cli.options import Command, add_options

if TYPE_CHECKING:
    from exporter.triton_options import TritonOptions

OPTIONS = (
    click.option(
        "--version-policy",
        metavar="POLICY",
        help="Versions that Triton serves: latest (its default), latest:2, all, or 1,3. Kept by later exports.",
    ),
    click.option(
        "--with-graph-model",
        is_flag=True,
        help="Write NAME_graph too: the raw graph for Triton's own ONNX Runtime backend, tensors in, tensors out.",
    ),
    click.option(
        "--triton-release", metavar="YY.MM", help="Triton that will load NAME_graph; caps opset and IR version."
    ),
)


def triton_options(command: Command) -> Command:
    """Add the options to a click command."""
    return add_options(command, OPTIONS)


def take_triton(options: dict[str, Any]) -> TritonOptions:
    """The settings, taken out of a command's options."""
    from exporter.triton_options import TritonOptions

    return TritonOptions(
        version_policy=options.pop("version_policy"),
        graph_model=options.pop("with_graph_model"),
        release=options.pop("triton_release"),
    )
