"""`gatehouse project`: what gateway keys belong to, and which providers they may use by which credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from gatehouse.cli import names
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.listing import Shown, echo_item, echo_list, format_option, moment, word
from gatehouse.cli.names import called, identified, labels, path
from gatehouse.cli.options import wanted
from gatehouse.config.printable import clean

OWN_KEYS: Final[dict[str, bool | None]] = {"yes": True, "no": False, "auto": None}
"""Whether callers may bring their own provider keys."""

_COLUMNS: Final[Shown] = {
    "name": lambda item: item["name"],
    "environment": lambda item: item["environment"],
    "team": lambda item: item["team"],
    "providers": lambda item: sorted({each["provider"] for each in item["bindings"]}),
    "disabled": lambda item: item["disabled"],
    "id": lambda item: item["id"],
}
_LABELS: Final = (
    click.option("--type", help="A label, such as `backend`."),
    click.option("--environment", help="A label that reports tell apart, such as `prod`."),
    click.option("--team", help="A label that reports tell apart."),
    click.option(
        "--own-keys",
        type=click.Choice(list(OWN_KEYS)),
        help="Whether callers may bring their own provider keys; `auto`: where no credential is bound.",
    ),
)


def _label_options(command: Any) -> Any:
    for option in reversed(_LABELS):
        command = option(command)
    return command


@click.group(name="project")
def command() -> None:
    """What gateway keys belong to, and the providers they use."""


@command.command(name="create")
@click.argument("name")
@_label_options
@format_option
@api_options
def create(where: Where, /, form: str, **given: Any) -> None:
    """Make the project NAME."""

    async def work(api: Api) -> Mapping[str, Any]:
        return await api.post(path("project"), _body(given))

    made = where.run(work)
    echo_item(form, made, told(made, {}))


@command.command(name="list")
@format_option
@api_options
def list_(where: Where, /, form: str) -> None:
    """List projects, newest first."""
    echo_list(form, where.run(lambda api: api.every(path("project"))), _COLUMNS, "There are no projects.")


@command.command(name="show")
@click.argument("name")
@format_option
@api_options
def show(where: Where, /, form: str, name: str) -> None:
    """Show the project NAME (or an id), with its providers."""

    async def work(api: Api) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        return await called(api, "project", name), await labels(api, "credential")

    found, credentials = where.run(work)
    echo_item(form, found, told(found, credentials))


@command.command(name="update")
@click.argument("project", metavar="NAME")
@click.option("--name", help="A new name.")
@_label_options
@click.option("--enable", is_flag=True, help="Take calls of its keys again, after `disable`.")
@format_option
@api_options
def update(where: Where, /, form: str, project: str, enable: bool, **given: Any) -> None:
    """Change the project NAME; what is not named stays."""
    asked = wanted(_body(given), enable)
    found = where.run(lambda api: names.patch(api, "project", project, asked))
    echo_item(form, found, told(found, {}))


@command.command(name="disable")
@click.argument("name")
@api_options
def disable(where: Where, /, name: str) -> None:
    """Refuse calls of the keys of project NAME. Returns when every worker does."""
    where.run(lambda api: names.patch(api, "project", name, {"disabled": True}))
    click.echo(f"project {clean(name)} is disabled")


@command.command(name="delete")
@click.argument("name")
@api_options
def delete(where: Where, /, name: str) -> None:
    """Delete the project NAME with its limits. Its keys have to be revoked before."""
    where.run(lambda api: names.delete(api, "project", name))
    click.echo(f"project {clean(name)} is deleted")


@command.command(name="enable")
@click.argument("provider")
@click.option("--credential", required=True, metavar="NAME", help="The stored credential it is used by.")
@click.option("--weight", type=int, help="Its share among several credentials; else the credential's own.")
@click.option("--project", default="default", show_default=True, metavar="NAME", help="For whose keys.")
@api_options
def enable(where: Where, /, provider: str, credential: str, weight: int | None, project: str) -> None:
    """Let a project's keys use PROVIDER by a stored credential. Once more: with another weight."""

    async def work(api: Api) -> None:
        place = path("project", await identified(api, "project", project))
        name = await identified(api, "credential", credential)
        await api.put(f"{place}/providers/{quote(provider, safe='')}/{name}", {"weight": weight})

    where.run(work)
    click.echo(f"project {clean(project)} uses {clean(provider)} by credential {clean(credential)}")


@command.command(name="disable-provider")
@click.argument("provider")
@click.option("--credential", metavar="NAME", help="Only this one of its credentials.")
@click.option("--project", default="default", show_default=True, metavar="NAME", help="For whose keys.")
@api_options
def disable_provider(where: Where, /, provider: str, credential: str | None, project: str) -> None:
    """A project's keys no longer use PROVIDER by stored credentials. Returns when no worker does."""

    async def work(api: Api) -> None:
        place = path("project", await identified(api, "project", project))
        one = "" if credential is None else f"/{await identified(api, 'credential', credential)}"
        await api.delete(f"{place}/providers/{quote(provider, safe='')}{one}")

    where.run(work)
    by = "" if credential is None else f" by credential {clean(credential)}"
    click.echo(f"project {clean(project)} no longer uses {clean(provider)}{by}")


def told(project: Mapping[str, Any], credentials: Mapping[str, str]) -> dict[str, Any]:
    """What a table shows of a project. `credentials`: their names by id."""
    providers = [
        f"{each['provider']} by {credentials.get(each['credential'], each['credential'])} (weight {each['weight']})"
        for each in project["bindings"]
    ]
    own = next(said for said, meant in OWN_KEYS.items() if meant is project["own_keys"])
    return {
        "name": project["name"],
        "id": project["id"],
        "base URL": f"/api/{project['uuid']}/v1",
        "type": project["type"],
        "environment": project["environment"],
        "team": project["team"],
        "own keys": own,
        "providers": word(providers),
        "disabled": project["disabled"],
        "created": moment(project["created_at"]),
    }


def _body(given: Mapping[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in given.items() if value is not None}
    if "own_keys" in body:
        body["own_keys"] = OWN_KEYS[body["own_keys"]]
    return body
