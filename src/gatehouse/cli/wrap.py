"""`gatehouse wrap -- COMMAND`: the variables of `shell-init` for one command, which takes this process's place."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from gatehouse.cli.options import config_option, data_option, set_up
from gatehouse.cli.sdk_variables import gateway_url, variables
from gatehouse.config.environment import PREFIX, RESERVED
from gatehouse.config.printable import clean

PATIENCE: Final = 3.0
"""Seconds for the gateway to answer."""

_HEALTH_BYTES: Final = 64 * 1024

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""What a shell would exit with."""


@click.command(name="wrap", context_settings={"allow_interspersed_args": False})
@click.argument("arguments", metavar="COMMAND [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--no-check", is_flag=True, help="Do not ask first whether the gateway answers.")
@data_option
@config_option
@click.pass_obj
def command(
    environ: Mapping[str, str], arguments: tuple[str, ...], no_check: bool, data: str | None, config: Path | None
) -> int:
    """Run COMMAND with the variables that point SDKs and tools at the gateway. Its exit code is the result.

    \b
    gatehouse wrap -- python my_script.py
    """
    setup = set_up(environ, data, config)
    url = gateway_url(setup)
    if not no_check:
        problem = unreachable(url)
        if problem is not None:
            raise click.ClickException(
                f"{problem}; start it with `gatehouse serve`, or skip this check with --no-check"
            )
    return _become(arguments, {**child_environment(environ), **variables(url, setup, environ)})


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the gateway's own settings: they may hold secrets, and are nothing to the command."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX) or name in RESERVED}


def unreachable(url: str) -> str | None:
    """Why no gateway answers at a URL; `None` if one does. Sends no credential."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        if parts.scheme == "https":
            # Whether the certificate is trusted is the command's own business, with its own trust store.
            socket.create_connection((host, port), PATIENCE).close()
            return None
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        try:
            connection.request("GET", f"{parts.path}/health")
            answer = connection.getresponse()
            body = answer.read(_HEALTH_BYTES)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return f"no gateway answers at {url} ({clean(str(error)) or type(error).__name__})"
    if answer.headers.get("x-gatehouse-id") is None and not _is_health(body):
        return f"what answers at {url} is not a Gatehouse (status {answer.status})"
    return None


def _is_health(body: bytes) -> bool:
    """`/health` names its services, whether they are well or not."""
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return isinstance(said, dict) and isinstance(said.get("services"), dict)


def _become(arguments: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """Replace this process; returns only if that fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these two, and what is ignored stays so across exec: `wrap -- yes | head` would not end.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvpe(arguments[0], arguments, environ)  # noqa: S606 - running a command is what was asked
    except OSError as error:
        click.echo(f"Error: cannot run {clean(arguments[0])}: {error.strerror}", err=True)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
