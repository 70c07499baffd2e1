"""`gatehouse serve`: settles the settings, hands them to the supervisor, and says where the gateway is to be found."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import msgspec

from gatehouse import __version__, supervisor
from gatehouse.cli.options import Setup, config_option, data_option, set_up
from gatehouse.config import founding
from gatehouse.config.check import is_loopback
from gatehouse.config.environment import OWNER
from gatehouse.config.load import Flag
from gatehouse.config.printable import clean

_OWNERS: Final = "gatehouse.cli.init"
"""Imported by name where the environment names an owner: it takes as long as all else together."""


@click.command(name="serve")
@click.option("--host", help="Address to listen on; server.host.")
@click.option("--port", type=int, help="Port to listen on, 0 for any free one; server.port.")
@click.option("--workers", type=int, help="Data-plane processes; server.workers.")
@click.option("--insecure", is_flag=True, help="Allow a listener other than loopback without keys; server.insecure.")
@data_option
@config_option
@click.pass_obj
def command(
    environ: Mapping[str, str],
    host: str | None,
    port: int | None,
    workers: int | None,
    insecure: bool,
    data: str | None,
    config: Path | None,
) -> int:
    """Run the gateway until Ctrl-C or SIGTERM. Flags win over the environment, the environment over the file."""
    given = {"host": host, "port": port, "workers": workers, "insecure": insecure or None}
    flags = [Flag(f"--{key}", ("server", key), value) for key, value in given.items() if value is not None]
    setup = set_up(environ, data, config, flags)
    if any(environ.get(name) for name in OWNER):
        importlib.import_module(_OWNERS).from_environment(setup, environ)
        setup = set_up(environ, data, config, flags)
    for name in OWNER:
        # Not for the children: they have no use for it, and what is not there cannot be read.
        os.environ.pop(name, None)
    server = setup.settings.server
    named = {"--data": data, "--config": config}
    options = "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in named.items() if value)

    def ready(serving: supervisor.Serving) -> None:
        # A terminal that went away must not take the gateway with it.
        with suppress(OSError, ValueError):
            called = program(sys.argv[0], environ)
            token = None if setup.data.accounts.exists() else founding.offer(setup.data, time.time())
            click.echo(greeting(setup, serving.url, called, options, token))
            if not is_loopback(serving.host):
                click.echo(_exposed(serving.host), err=True)

    return supervisor.main(
        supervisor.Options(
            data=setup.data,
            settings=msgspec.json.encode(setup.settings),
            host=server.host,
            port=server.port,
            workers=server.workers,
            grace_seconds=server.grace_seconds,
            on_ready=ready,
            tls=server.tls_cert is not None,
        )
    )


def program(argv0: str, environ: Mapping[str, str]) -> str:
    """How this program is called from here: by name if that finds it, else as it was called."""
    found = shutil.which("gatehouse", path=environ.get("PATH", ""))
    if os.path.basename(argv0) != "gatehouse":
        return f"{shlex.quote(sys.executable)} -m gatehouse"
    if found is not None and os.path.exists(argv0) and os.path.samefile(found, argv0):
        return "gatehouse"
    return shlex.quote(argv0)


def greeting(setup: Setup, url: str, program: str, options: str, token: str | None = None) -> str:
    """What a newcomer needs next. `options`: those of `serve` that the other commands need too, ` --data X`. `token`:
    of setting up, while there is no owner; it stands in a link's fragment, which no browser sends to anybody."""
    file = setup.effective.file
    lines = [
        f"Gatehouse {__version__} listens on {url}",
        f"  data           {clean(str(setup.data.root))}",
        f"  configuration  {clean(str(file)) if file else 'defaults (no gatehouse.yaml)'}",
        "",
    ]
    if setup.settings.simulated.enabled:
        body = json.dumps({"model": "simulated", "messages": [{"role": "user", "content": "Hello"}]})
        keyed = setup.settings.auth.enabled
        lines += [
            f"Try it, with a key ({program} key create NAME{options}):" if keyed else "Try it, no key needed:",
            f"  curl {url}/simulated/v1/chat/completions -H 'content-type: application/json' \\",
            *(['    -H "authorization: Bearer $GATEWAY_KEY" \\'] if keyed else []),
            f"    -d '{body}'",
        ]
    lines += [
        "Point SDKs and tools at it:",
        f'  eval "$({program} shell-init{options})"',
        "See what they did:",
        f"  {program} report{options}",
        f"  {program} debug last{options}",
    ]
    if token is not None:
        lines += [
            "Accounts, keys and limits, once this is stopped:",
            f"  {program} init{options}",
            f"or now, for {founding.OFFERED_SECONDS // 60} minutes, by the API: {url}/api/v1/setup#{token}",
        ]
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)


def _exposed(host: str) -> str:
    return (
        f"Warning: {host} can be reached from other machines, and callers need no key. Whoever reaches it can use it, "
        "with provider keys of their own."
    )
