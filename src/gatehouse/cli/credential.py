"""`gatehouse credential`: providers' secrets. They are handed in, replaced and tried out, and never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

import click

from gatehouse.cli import names
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.confidential import secret, secret_option
from gatehouse.cli.listing import Shown, echo_item, echo_list, format_option, moment
from gatehouse.cli.moments import DaysType
from gatehouse.cli.names import called, identified, path
from gatehouse.cli.options import wanted
from gatehouse.config.printable import clean
from gatehouse.model.access import CredentialKind

_COLUMNS: Final[Shown] = {
    "name": lambda item: item["name"],
    "provider": lambda item: item["provider"],
    "kind": lambda item: item["kind"],
    "secret": lambda item: masked(item),
    "weight": lambda item: item["weight"],
    "health": lambda item: item["health"],
    "state": lambda item: state(item),
    "rotated": lambda item: moment(item["rotated_at"]),
    "id": lambda item: item["id"],
}


def _term_options(command: Any) -> Any:
    for option in (
        click.option("--rotate-hook", metavar="URL", help="Answers with a new secret when one is due."),
        click.option("--rotate-every", type=DaysType(), help="Due for rotation so often: `30d`, or days; 0: never."),
        click.option("--exclusive", metavar="PROJECT", help="The one project that may list what the provider keeps."),
        click.option("--test", type=bool, metavar="yes|no", help="Whether `test` keys may use it."),
        click.option("--weight", type=int, help="Its share where several credentials serve a project."),
    ):
        command = option(command)
    return command


@click.group(name="credential")
def command() -> None:
    """Secrets of providers."""


@command.command(name="create")
@click.argument("name")
@click.option("--provider", required=True, help="Name of the provider it is for.")
@click.option(
    "--kind",
    type=click.Choice(get_args(CredentialKind)),
    default="api_key",
    show_default=True,
    help="What the secret is; all but `api_key` are JSON objects.",
)
@click.option("--resource", help="Azure: the resource that the secret is of. Bedrock, Vertex AI: its region.")
@_term_options
@secret_option
@format_option
@api_options
def create(where: Where, /, form: str, kind: str, secret_file: str | None, **given: Any) -> None:
    """Store a provider's secret as NAME. It is sealed for this provider, and never shown again."""
    text = secret(secret_file, kind)

    async def work(api: Api) -> Mapping[str, Any]:
        body = await _body(api, given) | {"kind": kind, "secret": text}
        return await api.post(path("credential"), body)

    _echo_made(form, where.run(work))


@command.command(name="list")
@click.option("--provider", help="Only those of this provider.")
@format_option
@api_options
def list_(where: Where, /, form: str, provider: str | None) -> None:
    """List credentials, newest first."""
    found = where.run(lambda api: api.every(path("credential"), provider=provider))
    echo_list(form, found, _COLUMNS, "There are no credentials.")


@command.command(name="show")
@click.argument("name")
@format_option
@api_options
def show(where: Where, /, form: str, name: str) -> None:
    """Show the credential NAME (or an id), without its secret."""
    found = where.run(lambda api: called(api, "credential", name))
    echo_item(form, found, told(found))


@command.command(name="update")
@click.argument("credential", metavar="NAME")
@click.option("--name", help="A new name.")
@_term_options
@click.option("--retiring", type=bool, metavar="yes|no", help="Whether it serves no new call.")
@click.option("--enable", is_flag=True, help="Use it again, after `disable`.")
@format_option
@api_options
def update(where: Where, /, form: str, credential: str, enable: bool, **given: Any) -> None:
    """Change the credential NAME; what is not named stays. An empty PROJECT or URL, or 0 DAYS, is none."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await names.patch(api, "credential", credential, wanted(await _body(api, given), enable))

    _echo_made(form, where.run(work))


@command.command(name="disable")
@click.argument("name")
@api_options
def disable(where: Where, /, name: str) -> None:
    """No worker uses the credential NAME any more, and none another one instead."""
    where.run(lambda api: names.patch(api, "credential", name, {"disabled": True}))
    click.echo(f"credential {clean(name)} is disabled")


@command.command(name="delete")
@click.argument("name")
@api_options
def delete(where: Where, /, name: str) -> None:
    """Delete the credential NAME and its secret, on every worker. No project may use it any more."""
    where.run(lambda api: names.delete(api, "credential", name))
    click.echo(f"credential {clean(name)} is deleted")


@command.command(name="rotate")
@click.argument("name")
@click.option("--by-hook", is_flag=True, help="Ask its `rotate` hook for the new secret.")
@secret_option
@api_options
def rotate(where: Where, /, name: str, by_hook: bool, secret_file: str | None) -> None:
    """Replace the secret of credential NAME. Running calls end with the old one; returns when no new call begins so."""
    if by_hook and secret_file is not None:
        raise click.UsageError("--by-hook and --secret-file exclude each other.")

    async def work(api: Api) -> Mapping[str, Any]:
        found = await called(api, "credential", name)
        text = None if by_hook else secret(secret_file, found["kind"])
        return await api.post(f"{path('credential', found['id'])}/rotate", {"secret": text})

    click.echo(f"credential {clean(name)} has a new secret, {masked(where.run(work))}")


@command.command(name="test")
@click.argument("name")
@api_options
def test(where: Where, /, name: str) -> int:
    """Try the credential NAME out: one request to its provider that changes nothing."""

    async def work(api: Api) -> Mapping[str, Any]:
        place = path("credential", await identified(api, "credential", name))
        return await api.post(f"{place}/test")

    verdict = where.run(work)
    if verdict["healthy"]:
        click.echo(f"credential {clean(name)} works")
        return 0
    says = "does not work" if verdict["healthy"] is False else "may work or not"
    click.echo(f"credential {clean(name)} {says}: {clean(verdict['reason'] or 'nobody knows why')}")
    return 1


def masked(credential: Mapping[str, Any]) -> str:
    """What may be seen of a secret."""
    return f"…{clean(credential['last4'])}" if credential["last4"] else "…"


def state(credential: Mapping[str, Any]) -> str:
    """Whether it serves."""
    if credential["disabled"]:
        return "disabled"
    return "retiring" if credential["retiring_at"] else "active"


def told(credential: Mapping[str, Any]) -> dict[str, Any]:
    """What a table shows of a credential."""
    health = credential["health"]
    if credential["health_reason"]:
        health += f": {credential['health_reason']}"
    days = credential["rotate_every_days"]
    return {
        "name": credential["name"],
        "id": credential["id"],
        "provider": credential["provider"],
        "goes to": credential["origin"],
        "kind": credential["kind"],
        "secret": masked(credential),
        "settings": credential["settings"],
        "weight": credential["weight"],
        "test keys": credential["test"],
        "exclusive": credential["exclusive"],
        "rotated": moment(credential["rotated_at"]),
        "rotate every": None if days is None else f"{days} days",
        "rotate hook": credential["rotate_hook"],
        "health": health,
        "state": state(credential),
        "created": moment(credential["created_at"]),
    }


def _echo_made(form: str, made: Mapping[str, Any]) -> None:
    shown = told(made)
    if made["hook_key"] is not None:
        shown["hook key"] = f"{made['hook_key']} (shown this once: the hook checks our signature with it)"
    echo_item(form, made, shown)


async def _body(api: Api, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the options name, as the API takes it."""
    body = {name: value for name, value in given.items() if value is not None}
    if "rotate_every" in body:
        body["rotate_every_days"] = body.pop("rotate_every") or None
    if "rotate_hook" in body:
        body["rotate_hook"] = body["rotate_hook"] or None
    if "exclusive" in body:
        named = body["exclusive"]
        body["exclusive"] = await identified(api, "project", named) if named else None
    return body
