"""`onward doctor`: what is installed, which providers really start, which server would serve."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
from pathlib import Path

import click

PACKAGES = {
    "runtime": ("onnxruntime", "onnxruntime-gpu", "tokenizers", "numpy"),
    "export": ("torch", "transformers", "onnx", "onnxscript", "optimum", "peft"),
    "triton": ("tritonclient", "nvidia-pytriton"),
}


@click.command()
def doctor() -> None:
    """Say what this machine can do, and what is missing for the rest."""
    from rich.console import Console
    from rich.table import Table

    from runtime.session import available_threads

    table = Table("what", "found", show_header=False)
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("cores", f"{available_threads()} of {os.cpu_count()} for this process")
    for group, packages in PACKAGES.items():
        for package in packages:
            table.add_row(f"{group}: {package}", version_of(package))
    for provider in ("cpu", "cuda"):
        table.add_row(f"provider {provider}", provider_state(provider))
    table.add_row("tritonserver", server_state())
    Console().print(table)


def version_of(package: str) -> str:
    """Installed version, or that it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "[dim]not installed[/]"


def provider_state(provider: str) -> str:
    """Whether a provider is in this onnxruntime; starting it needs a model."""
    from runtime.errors import ProviderError
    from runtime.session import check_provider

    try:
        check_provider(provider)
    except ProviderError as error:
        return warning(error)
    return "[green]available[/]"


def server_state() -> str:
    """Where the server is that `onward serve` would start."""
    from runtime.errors import OnwardError
    from runtime.triton.installation import find_installation

    with tempfile.TemporaryDirectory(prefix="onward-doctor-") as scratch:
        try:
            return str(find_installation(sys.executable, Path(scratch)).program)
        except OnwardError as error:
            return warning(error)


def warning(error: Exception) -> str:
    """An error's message in yellow; its brackets (`onward[gpu]`) are no markup."""
    from rich.markup import escape

    return f"[yellow]{escape(str(error))}[/]"
