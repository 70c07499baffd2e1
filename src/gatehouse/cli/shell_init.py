"""`gatehouse shell-init`: for `eval "$(gatehouse shell-init)"`. Everything that varies is quoted for its shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from gatehouse.cli.options import config_option, data_option, set_up
from gatehouse.cli.sdk_variables import gateway_url, remarks, variables
from gatehouse.config.printable import clean

SHELLS: Final = ("bash", "zsh", "fish")


@click.command(name="shell-init")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@data_option
@config_option
@click.pass_obj
def command(environ: Mapping[str, str], shell: str | None, data: str | None, config: Path | None) -> None:
    """Print the variables that point SDKs and tools at the gateway, for SHELL (else the one in $SHELL).

    \b
    bash, zsh:  eval "$(gatehouse shell-init)"
    fish:       gatehouse shell-init fish | source
    """
    setup = set_up(environ, data, config)
    url = gateway_url(setup)
    chosen = shell or _default_shell(environ)
    for name, value in variables(url, setup, environ).items():
        click.echo(export(chosen, name, value))
    for line in remarks(url, setup):
        click.echo(f"# {clean(line)}")


def export(shell: str, name: str, value: str) -> str:
    """One line that sets a variable for the shell and its children."""
    if shell == "fish":
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{quoted}';"
    return f"export {name}={shlex.quote(value)};"


def _default_shell(environ: Mapping[str, str]) -> str:
    name = os.path.basename(environ.get("SHELL", ""))
    return name if name in SHELLS else "bash"
