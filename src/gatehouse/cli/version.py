"""`gatehouse version`."""

from __future__ import annotations

import json
import platform
import sys

import click

from gatehouse import __version__
from gatehouse.config.build import compiled


@click.command(name="version")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(form: str) -> None:
    """Print the version."""
    if form == "json":
        facts = {
            "gatehouse": __version__,
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "compiled": compiled(),
            "platform": sys.platform,
            "machine": platform.machine(),
        }
        click.echo(json.dumps(facts))
    else:
        click.echo(f"gatehouse {__version__}")
