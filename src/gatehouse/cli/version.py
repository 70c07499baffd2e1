"""`gatehouse version`."""

from __future__ import annotations

import importlib.util
import json
import platform
import sys

import click

from gatehouse import __version__


@click.command(name="version")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(form: str) -> None:
    """Print the version."""
    if form == "json":
        facts = {
            "gatehouse": __version__,
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "compiled": _compiled(),
            "platform": sys.platform,
            "machine": platform.machine(),
        }
        click.echo(json.dumps(facts))
    else:
        click.echo(f"gatehouse {__version__}")


def _compiled() -> bool:
    """Whether the hot path was compiled when this was built."""
    found = importlib.util.find_spec("gatehouse.pipeline.serve")
    return found is not None and not str(found.origin).endswith(".py")
