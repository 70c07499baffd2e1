"""`gatehouse secrets rotate`: another master key for all that is sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.words import counted


@click.group(name="secrets")
def command() -> None:
    """The master keys that seal provider secrets."""


@command.command(name="rotate")
@api_options
def rotate(where: Where, /) -> None:
    """Seal all secrets anew under a new master key, and drop the old one when no worker needs it.

    Where the keys are kept elsewhere (`secrets.key_file`, `key_env`, `key_command`): under the newest one there."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.post("/api/v1/secrets/rotate")

    done = where.run(work)
    click.echo(f"{counted(done['sealed'], 'secret')} sealed anew; {counted(done['keys'], 'master key')} left")
