"""`gatehouse serve`: settles the settings, hands them to the supervisor, and says where the gateway is to be found."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from gatehouse import __version__, supervisor
from gatehouse.cli.options import Setup, config_option, data_option, set_up
from gatehouse.config.check import is_loopback
from gatehouse.config.load import Flag
from gatehouse.config.printable import clean


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
    server = setup.settings.server
    named = {"--data": data, "--config": config}
    options = "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in named.items() if value)

    def ready(serving: supervisor.Serving) -> None:
        # A terminal that went away must not take the gateway with it.
        with suppress(OSError, ValueError):
            click.echo(greeting(setup, serving.url, program(sys.argv[0], environ), options))
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


def greeting(setup: Setup, url: str, program: str, options: str) -> str:
    """What a newcomer needs next. `options`: those of `serve` that the other commands need too, ` --data X`."""
    file = setup.effective.file
    lines = [
        f"Gatehouse {__version__} listens on {url}",
        f"  data           {clean(str(setup.data.root))}",
        f"  configuration  {clean(str(file)) if file else 'defaults (no gatehouse.yaml)'}",
        "",
    ]
    if setup.settings.simulated.enabled:
        body = json.dumps({"model": "simulated", "messages": [{"role": "user", "content": "Hello"}]})
        lines += [
            "Try it, no key needed:",
            f"  curl {url}/simulated/v1/chat/completions -H 'content-type: application/json' \\",
            f"    -d '{body}'",
        ]
    lines += [
        "Point SDKs and tools at it:",
        f'  eval "$({program} shell-init{options})"',
        "See what they did:",
        f"  {program} report{options}",
        f"  {program} debug last{options}",
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def _exposed(host: str) -> str:
    return (
        f"Warning: {host} can be reached from other machines, and callers need no key. Whoever reaches it can use it, "
        "with provider keys of their own."
    )
