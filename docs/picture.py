"""Draws `docs/export.svg`, the picture in the README: `python docs/picture.py` runs a real export and records it."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from rich.console import Console

from exporter.export import ExportOptions, run_export
from exporter.stages import Stages
from runtime.cli.export_view import LiveStages, show_result

CHECKPOINT = Path("tests/checkpoints/tiny-gpt2-python-docs")


class EndedStages(LiveStages):
    """Only the lines that stay: the frames of a spinner would all be in the picture."""

    def begin(self, name: str) -> None:
        """Nothing to show yet."""


def main() -> None:
    """Export the demo's checkpoint and save what the terminal shows."""
    console = Console(record=True, width=92, file=io.StringIO(), force_terminal=True)
    console.print(f"[bold]$[/] onward export {CHECKPOINT} --name demo", highlight=False)
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        options = ExportOptions(str(here / CHECKPOINT), output=Path(scratch) / "model_repository", name="demo")
        result = run_export(options, Stages(EndedStages(console)))
        show_result(console, result)
    svg = console.export_svg(title="onward export").replace(f"{scratch}/", "")
    Path("docs/export.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
