"""`gatehouse issuer`: whose JWTs say who a caller of the data plane is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from gatehouse.auth.scopes import SCOPES
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.listing import Shown, echo_item, echo_list, format_option, moment
from gatehouse.cli.names import identified, labels
from gatehouse.cli.options import wanted
from gatehouse.config.printable import clean
from gatehouse.store.directory import ids

PATH: Final = "/api/v1/issuers"
_LISTS: Final = ("algorithms", "scopes")


def _columns(projects: Mapping[str, str]) -> Shown:
    return {
        "issuer": lambda item: item["issuer"],
        "audience": lambda item: item["audience"],
        "project": lambda item: projects.get(item["project"], item["project"]),
        "keys fetched": lambda item: moment(item["keys_at"]) or "not yet",
        "disabled": lambda item: item["disabled"],
        "id": lambda item: item["id"],
    }


def _term_options(command: Any) -> Any:
    for option in (
        click.option(
            "--scope",
            "scopes",
            multiple=True,
            help=f"What its callers may do without a key ({', '.join(sorted(SCOPES))}); again: more.",
        ),
        click.option(
            "--project",
            metavar="NAME",
            help="Of callers whose token is their only credential; an empty one: none, they need a key.",
        ),
        click.option("--service-claim", metavar="CLAIM", help="What application it is; `azp` unless set."),
        click.option("--groups-claim", metavar="CLAIM", help="The person's groups; `groups` unless set."),
        click.option("--user-claim", metavar="CLAIM", help="Who the person is; `sub` unless set."),
        click.option(
            "--jwks-url", metavar="URL", help="Where its keys are; an empty one: where its discovery document says."
        ),
        click.option("--algorithm", "algorithms", multiple=True, help="It may sign with; RS256, ES256 unless set."),
    ):
        command = option(command)
    return command


@click.group(name="issuer")
def command() -> None:
    """Whose JWTs say who a caller is."""


@command.command(name="create")
@click.argument("issuer", metavar="URL")
@click.option("--audience", required=True, help="What `aud` must hold.")
@_term_options
@format_option
@api_options
def create(where: Where, /, form: str, **given: Any) -> None:
    """Take JWTs of the issuer that calls itself URL (`iss`). Its keys are fetched at once."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.post(PATH, await _body(api, given))

    made = where.run(work)
    _echo(form, made, {})
    if made["keys_at"] is None:
        click.echo(f"its keys could not be fetched: `gatehouse issuer refresh {made['id']}` says why", err=True)


@command.command(name="list")
@format_option
@api_options
def list_(where: Where, /, form: str) -> None:
    """List issuers, newest first."""

    async def work(api: Api) -> tuple[list[dict[str, Any]], Mapping[str, str]]:
        items = await api.every(PATH)
        return items, ({} if form == "json" or not items else await labels(api, "project"))

    items, projects = where.run(work)
    echo_list(form, items, _columns(projects), "There are no issuers.")


@command.command(name="show")
@click.argument("issuer")
@format_option
@api_options
def show(where: Where, /, form: str, issuer: str) -> None:
    """Show ISSUER: its URL, or its id."""

    async def work(api: Api) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        return await _called(api, issuer), await labels(api, "project")

    _echo(form, *where.run(work))


@command.command(name="update")
@click.argument("name", metavar="ISSUER")
@_term_options
@click.option("--enable", is_flag=True, help="Take its tokens again, after `disable`.")
@format_option
@api_options
def update(where: Where, /, form: str, name: str, enable: bool, **given: Any) -> None:
    """Change ISSUER (its URL, or its id); what is not named stays. Returns when every worker goes by it."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await _patched(api, name, wanted(await _body(api, given), enable))

    _echo(form, where.run(work), {})


@command.command(name="disable")
@click.argument("issuer")
@api_options
def disable(where: Where, /, issuer: str) -> None:
    """Refuse the tokens of ISSUER (its URL, or its id) until `update --enable`. Returns when every worker does."""
    where.run(lambda api: _patched(api, issuer, {"disabled": True}))
    click.echo(f"issuer {clean(issuer)} is disabled")


@command.command(name="delete")
@click.argument("issuer")
@api_options
def delete(where: Where, /, issuer: str) -> None:
    """Take the tokens of ISSUER (its URL, or its id) no more. Returns when no worker does."""

    async def work(api: Api) -> None:
        await api.delete(f"{PATH}/{(await _called(api, issuer))['id']}")

    where.run(work)
    click.echo(f"issuer {clean(issuer)} is deleted")


@command.command(name="refresh")
@click.argument("issuer")
@api_options
def refresh(where: Where, /, issuer: str) -> None:
    """Fetch the keys of ISSUER (its URL, or its id) now, and say why if that fails."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.post(f"{PATH}/{(await _called(api, issuer))['id']}/refresh")

    click.echo(f"the keys of {clean(where.run(work)['issuer'])} are fetched")


async def _called(api: Api, name: str) -> dict[str, Any]:
    """The one issuer with this URL or id. Raises `click.ClickException`."""
    if ids.is_id("issuer", name):
        return await api.get(f"{PATH}/{name}")
    items = [each for each in await api.every(PATH) if each["issuer"] == name]
    if not items:
        raise click.ClickException(f"there is no issuer {clean(name)}")
    if len(items) > 1:
        told = ", ".join(f"{each['id']} for {each['audience']}" for each in items)
        raise click.ClickException(f"{clean(name)} issues for several audiences: name one by its id ({clean(told)})")
    return items[0]


async def _patched(api: Api, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return await api.patch(f"{PATH}/{(await _called(api, name))['id']}", body)


async def _body(api: Api, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the options name, as the API takes it."""
    body = {name: value for name, value in given.items() if value is not None and value != ()}
    for name in _LISTS:
        if name in body:
            body[name] = [each for each in body[name] if each]
    if "jwks_url" in body:
        body["jwks_url"] = body["jwks_url"] or None
    if "project" in body:
        body["project"] = await identified(api, "project", body["project"]) if body["project"] else None
    return body


def _echo(form: str, issuer: Mapping[str, Any], projects: Mapping[str, str]) -> None:
    shown = {
        "issuer": issuer["issuer"],
        "audience": issuer["audience"],
        "id": issuer["id"],
        "algorithms": issuer["algorithms"],
        "keys": issuer["jwks_url"] or "where its discovery document says",
        "keys fetched": moment(issuer["keys_at"]) or "not yet",
        "user claim": issuer["user_claim"],
        "groups claim": issuer["groups_claim"],
        "service claim": issuer["service_claim"],
        "project": projects.get(issuer["project"], issuer["project"]),
        "scopes": issuer["scopes"],
        "disabled": issuer["disabled"],
        "created": moment(issuer["created_at"]),
    }
    echo_item(form, issuer, shown)
