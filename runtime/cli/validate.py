"""`onward validate`: the export's validation, repeated where the bundle will serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from runtime.cli.evaluation_options import evaluation_options, take_settings
from runtime.errors import OnwardError, ValidationError


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--against", help="Checkpoint to compare with; the bundle's own source by default.")
@click.option("--provider", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--device", default="cpu", show_default=True, help="Where torch runs the source model.")
@click.option("--token", envvar="HF_TOKEN", help="Hub token; read from HF_TOKEN.", metavar="TOKEN")
@click.option("--trust-remote-code", is_flag=True, help="Run model code that the checkpoint brings. Read it first.")
@evaluation_options
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def validate(
    bundle: Path,
    against: str | None,
    provider: str,
    device: str,
    token: str | None,
    trust_remote_code: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare BUNDLE with the checkpoint it was made from; exit code 1 when it does not reproduce it."""
    try:
        from exporter.validation.revalidate import revalidate
    except ImportError as error:
        raise OnwardError(f"validating needs {error.name}: pip install 'onward[export]'") from error
    from rich.console import Console

    from runtime.cli.export_view import show_checks

    checks = revalidate(bundle, against, provider, device, token, trust_remote_code, take_settings(options))
    if as_json:
        from exporter.validation.checks import as_json as checks_json

        click.echo(json.dumps(checks_json(checks), indent=2))
    else:
        show_checks(Console(), checks)
    failed = [check for check in checks if not check.passed]
    if failed:
        raise ValidationError(f"{bundle} does not reproduce its model: {len(failed)} of {len(checks)} checks failed")
