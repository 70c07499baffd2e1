"""`gatehouse user`: the people of a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from gatehouse.auth.roles import ROLES
from gatehouse.cli import names
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.init import new_password
from gatehouse.cli.listing import Shown, echo_item, echo_list, format_option, moment
from gatehouse.cli.names import called, identified, path
from gatehouse.cli.options import wanted
from gatehouse.config.printable import clean

_COLUMNS: Final[Shown] = {
    "email": lambda item: item["email"],
    "name": lambda item: item["name"],
    "role": lambda item: item["role"],
    "disabled": lambda item: item["disabled"],
    "since": lambda item: moment(item["created_at"]),
    "id": lambda item: item["id"],
}
_ROLE: Final = click.Choice(list(ROLES))


@click.group(name="user")
def command() -> None:
    """People: who they are here, and what they may."""


@command.command(name="create")
@click.argument("email")
@click.option("--role", type=_ROLE, required=True, help="What the user may.")
@click.option("--name", help="The user's name.")
@click.option("--password", "with_password", is_flag=True, help="Ask for a password, in place of an invitation.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin's first line.")
@format_option
@api_options
def create(
    where: Where, /, form: str, email: str, role: str, name: str | None, with_password: bool, password_stdin: bool
) -> None:
    """Make a user with the address EMAIL. Without a password an invitation is printed, once."""
    body: dict[str, Any] = {"email": email, "role": role}
    body |= {"name": name} if name is not None else {}
    body |= {"password": new_password(password_stdin)} if with_password or password_stdin else {}

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.post(path("user"), body)

    _echo_made(form, where.run(work))


@command.command(name="list")
@click.option("--role", type=_ROLE, help="Those with this role.")
@format_option
@api_options
def list_(where: Where, /, form: str, role: str | None) -> None:
    """List users, newest first."""
    echo_list(form, where.run(lambda api: api.every(path("user"), role=role)), _COLUMNS, "There are no users.")


@command.command(name="show")
@click.argument("user")
@format_option
@api_options
def show(where: Where, /, form: str, user: str) -> None:
    """Show the user USER: an e-mail address, or an id."""
    found = where.run(lambda api: called(api, "user", user))
    echo_item(form, found, _told(found))


@command.command(name="update")
@click.argument("user")
@click.option("--role", type=_ROLE, help="What the user may from now on.")
@click.option("--email", help="A new address.")
@click.option("--name", help="A new name.")
@click.option("--enable", is_flag=True, help="Let the user in again, after `disable`.")
@format_option
@api_options
def update(where: Where, /, form: str, user: str, enable: bool, **given: str | None) -> None:
    """Change the user USER; what is not named stays."""
    body = {name: value for name, value in given.items() if value is not None}
    asked = wanted(body, enable)
    found = where.run(lambda api: names.patch(api, "user", user, asked))
    echo_item(form, found, _told(found))


@command.command(name="disable")
@click.argument("user")
@api_options
def disable(where: Where, /, user: str) -> None:
    """End the sessions of USER, and refuse the user's keys. Returns when every worker does."""
    where.run(lambda api: names.patch(api, "user", user, {"disabled": True}))
    click.echo(f"user {clean(user)} is disabled")


@command.command(name="invite")
@click.argument("user")
@format_option
@api_options
def invite(where: Where, /, form: str, user: str) -> None:
    """Print a new invitation for USER. It takes the place of the password, and ends the user's sessions."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.post(f"{path('user', await identified(api, 'user', user))}/invitation")

    _echo_made(form, where.run(work))


@command.command(name="erase")
@click.argument("user")
@click.confirmation_option(prompt="Nothing will be left of who it was. Go on?", help="Do not ask.")
@api_options
def erase(where: Where, /, user: str) -> None:
    """Erase who USER was. The id stays, on calls and in the audit; the user's keys are refused."""
    where.run(lambda api: names.delete(api, "user", user))
    click.echo(f"user {clean(user)} is erased")


command.add_command(erase, "delete")


def _echo_made(form: str, made: Mapping[str, Any]) -> None:
    if form == "json":
        echo_item(form, made)
        return
    echo_item(form, made["user"], _told(made["user"]))
    if made["invitation"] is not None:
        click.echo(f"\nInvitation, until {moment(made['invitation_expires_at'])} UTC; it is not shown again:")
        click.echo(clean(made["invitation"]))
        click.echo("With it a password is set: gatehouse login --url URL --invitation")


def _told(user: Mapping[str, Any]) -> dict[str, Any]:
    """What a table shows of a user."""
    return {
        "email": user["email"],
        "id": user["id"],
        "name": user["name"],
        "role": user["role"],
        "password": "set" if user["has_password"] else "none yet",
        "signs in by": user["issuer"],
        "disabled": user["disabled"],
        "erased": moment(user["erased_at"]),
        "created": moment(user["created_at"]),
    }
