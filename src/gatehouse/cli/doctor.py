"""`gatehouse doctor`: what is wrong on this machine, or, with `--url`, between a client and a gateway."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from gatehouse.cli import findings, local_checks, remote_checks
from gatehouse.cli.options import config_option, data_option

_KEY_BYTES: Final = 8192


@click.command(name="doctor")
@click.option("--url", help="Check this gateway from a client's side: its address, or an SDK's base URL.")
@click.option("--key", help="Key to try, as the SDK would send it. Other users can see it in the process list.")
@click.option("--key-file", metavar="FILE", help="File whose first line is the key; `-` for stdin.")
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
    if key is not None and key_file is not None:
        raise click.UsageError("--key and --key-file exclude each other.")
    if key_file is not None:
        key = _read_key(key_file)
    if key is not None and not (key.isascii() and key.isprintable() and key and " " not in key):
        raise click.UsageError("The key is empty or holds characters that no key has.")
    return findings.show(remote_checks.run(url, key, environ))


def _read_key(name: str) -> str:
    try:
        if name == "-":
            text = sys.stdin.readline(_KEY_BYTES)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.readline(_KEY_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"Cannot read the key from {name}: {error}") from error
    return text.strip()
