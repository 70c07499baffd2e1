"""`gatehouse tenant`: the organizations of a gateway. For whoever operates it: not with `--url`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from gatehouse.cli.client import Api, Where, api_options, tenant_id
from gatehouse.cli.listing import Shown, echo_item, echo_list, format_option, moment
from gatehouse.cli.options import wanted
from gatehouse.config.printable import clean

_PATH: Final = "/api/v1/tenants"
_COLUMNS: Final[Shown] = {
    "name": lambda item: item["name"],
    "disabled": lambda item: item["disabled"],
    "since": lambda item: moment(item["created_at"]),
    "id": lambda item: item["id"],
}


@click.group(name="tenant")
def command() -> None:
    """Organizations: nothing of one is seen by another."""


@command.command(name="create")
@click.argument("name")
@click.option("--owner", required=True, metavar="EMAIL", help="E-mail address of its owner, who is invited.")
@format_option
@api_options
def create(where: Where, /, form: str, name: str, owner: str) -> None:
    """Make the tenant NAME with a project `default`, and print its owner's invitation, once."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.post(_PATH, {"name": name, "owner_email": owner})

    made = where.run(work)
    if form == "json":
        echo_item(form, made)
        return
    echo_item(form, made, _told(made["tenant"]) | {"project": made["project"], "owner": made["owner"]})
    click.echo(f"\nInvitation, until {moment(made['invitation_expires_at'])} UTC; it is not shown again:")
    click.echo(clean(made["invitation"]))
    click.echo("With it a password is set: gatehouse login --url URL --invitation")


@command.command(name="list")
@format_option
@api_options
def list_(where: Where, /, form: str) -> None:
    """List tenants, newest first."""
    echo_list(form, where.run(lambda api: api.every(_PATH)), _COLUMNS, "There are no tenants.")


@command.command(name="update")
@click.argument("which", metavar="NAME")
@click.option("--name", help="A new name.")
@click.option("--enable", is_flag=True, help="Let its people and keys in again, after `disable`.")
@format_option
@api_options
def update(where: Where, /, form: str, which: str, name: str | None, enable: bool) -> None:
    """Change the tenant NAME (or an id); what is not named stays."""
    body = wanted({"name": name} if name is not None else {}, enable)
    changed = where.run(lambda api: _patched(api, which, body))
    echo_item(form, changed, _told(changed))


@command.command(name="disable")
@click.argument("which", metavar="NAME")
@api_options
def disable(where: Where, /, which: str) -> None:
    """Let nobody of the tenant NAME in, and refuse its keys. Returns when every worker does."""
    where.run(lambda api: _patched(api, which, {"disabled": True}))
    click.echo(f"tenant {clean(which)} is disabled")


def _told(tenant: Mapping[str, Any]) -> dict[str, Any]:
    """What a table shows of a tenant."""
    told = {name: tenant[name] for name in ("name", "id", "disabled")}
    return told | {"created": moment(tenant["created_at"])}


async def _patched(api: Api, tenant: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return await api.patch(f"{_PATH}/{await tenant_id(api, tenant)}", body)
