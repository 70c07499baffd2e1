"""`gatehouse token`: platform tokens, by which programs use the management API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from gatehouse.auth.roles import ROLES
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.listing import Shown, echo_item, echo_list, format_option, moment
from gatehouse.cli.moments import SpanType
from gatehouse.cli.names import identified, path
from gatehouse.config.printable import clean

_PATH: Final = "/api/v1/auth/token"
_COLUMNS: Final[Shown] = {
    "id": lambda item: item["id"],
    "user": lambda item: item["user"],
    "scopes": lambda item: item["scopes"],
    "expires": lambda item: moment(item["expires_at"]),
    "revoked": lambda item: moment(item["revoked_at"]),
}


@click.group(name="token")
def command() -> None:
    """Platform tokens: they open the management API, for 24 hours at most."""


@command.command(name="create")
@click.option("--role", type=click.Choice(list(ROLES)), help="What the token may; else all that its user may.")
@click.option("--ttl", type=SpanType(token=True), default="1h", show_default=True, help="How long it lives, 1m to 24h.")
@click.option("--user", metavar="EMAIL", help="Whose it is; else the only owner's.")
@format_option
@api_options
def create(where: Where, /, form: str, role: str | None, ttl: int, user: str | None) -> None:
    """Print a new platform token, once. It is worth what its user may, today and later."""

    async def work(api: Api) -> Mapping[str, Any]:
        name = await _owner(api) if user is None else await identified(api, "user", user)
        return await api.post(_PATH, {"user": name, "role": role, "ttl_seconds": ttl})

    made = where.run(work)
    if form == "json":
        echo_item(form, made)
    else:
        click.echo(f"{made['id']}, until {moment(made['expires_at'])} UTC; it is not shown again:", err=True)
        click.echo(clean(made["token"]))


@command.command(name="list")
@format_option
@api_options
def list_(where: Where, /, form: str) -> None:
    """List platform tokens, newest first."""
    echo_list(form, where.run(lambda api: api.every(_PATH)), _COLUMNS, "There are no platform tokens.")


@command.command(name="revoke")
@click.argument("which", metavar="ID")
@api_options
def revoke(where: Where, /, which: str) -> None:
    """Revoke the platform token ID (its `jti`)."""
    where.run(lambda api: api.delete(f"{_PATH}/{which}"))
    click.echo(f"token {clean(which)} is revoked")


async def _owner(api: Api) -> str:
    owners = [each for each in await api.every(path("user"), role="owner") if not each["disabled"]]
    if len(owners) != 1:
        raise click.UsageError("There is not exactly one owner; name whose token it is by --user.")
    return str(owners[0]["id"])
