"""`gatehouse doctor`: what is wrong on this machine, or, with `--url`, between a client and a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from gatehouse.cli import findings, local_checks, remote_checks
from gatehouse.cli.confidential import given
from gatehouse.cli.options import config_option, data_option
from gatehouse.cli.provider_keys import key_options


@click.command(name="doctor")
@click.option("--url", help="Check this gateway from a client's side: its address, or an SDK's base URL.")
@key_options
@data_option
@config_option
@click.pass_obj
def command(
    environ: Mapping[str, str],
    url: str | None,
    key: str | None,
    key_file: str | None,
    data: str | None,
    config: Path | None,
) -> int:
    """Find out what is wrong and what to do. Exit code 1 if anything fails.

    Without --url: configuration, data directory, disk, port, processes, journal and store of this machine. With --url:
    whether SDKs reach the gateway there, and through it their providers. The key goes to that address only.
    """
    if url is None:
        if key is not None or key_file is not None:
            raise click.UsageError("--key and --key-file need --url.")
        return findings.show(local_checks.run(environ, data, config))
    return findings.show(remote_checks.run(url, given("key", key, key_file), environ))
