"""`gatehouse webhook`: the one URL that a tenant's events are posted to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.listing import echo_item, format_option, moment
from gatehouse.config.printable import clean

PATH: Final = "/api/v1/events/webhook"


@click.group(name="webhook")
def command() -> None:
    """Where events are posted to."""


@command.command(name="set")
@click.argument("target", metavar="URL")
@format_option
@api_options
def set_(where: Where, /, form: str, target: str) -> None:
    """Post events to URL from now on, in place of any other. Prints the key of their signatures, once."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.put(PATH, {"url": target})

    made = where.run(work)
    shown = {"url": made["url"], "secret": f"{made['secret']} (shown this once)", "created": moment(made["created_at"])}
    echo_item(form, made, shown)


@command.command(name="show")
@format_option
@api_options
def show(where: Where, /, form: str) -> None:
    """Show where events are posted to."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.get(PATH)

    found = where.run(work)
    echo_item(form, found, {"url": found["url"], "created": moment(found["created_at"])})


@command.command(name="delete")
@api_options
def delete(where: Where, /) -> None:
    """Post events no more."""

    async def work(api: Api) -> None:
        await api.delete(PATH)

    where.run(work)
    click.echo("events are posted no more")


@command.command(name="test")
@api_options
def test(where: Where, /) -> None:
    """Post an event that says nothing, now. Exit code 1 if that fails."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.post(f"{PATH}/test")

    told = where.run(work)
    if not told["delivered"]:
        raise click.ClickException(f"it is not taken: {clean(told['reason'] or 'no reason given')}")
    click.echo("it is taken")
