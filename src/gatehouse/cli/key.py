"""`gatehouse key`: gateway keys. A key's text is printed when it is made, once, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from gatehouse.auth.scopes import SCOPES
from gatehouse.cli import caps, names
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.limit import in_use_told, terms_told
from gatehouse.cli.listing import Shown, echo_item, echo_list, format_option, moment
from gatehouse.cli.moments import SpanType, ahead
from gatehouse.cli.names import called, identified, labels, path, rotations
from gatehouse.cli.options import wanted
from gatehouse.config.printable import clean
from gatehouse.model.limits import WINDOWS, Measure
from gatehouse.store import times

NEVER: Final = "never"
_LISTS: Final = ("scopes", "models", "providers", "addresses")
_ABOUT: Final = "Shown once: keep it now. Lines for a shell, by SDK:"


def _columns(projects: Mapping[str, str], users: Mapping[str, str]) -> Shown:
    return {
        "name": lambda item: item["name"],
        "key": lambda item: item["key"],
        "project": lambda item: projects.get(item["project"], item["project"]),
        "user": lambda item: users.get(item["user"], item["user"]),
        "owner": lambda item: item["owner"],
        "state": lambda item: state(item),
        "expires": lambda item: moment(item["expires_at"]),
        "created": lambda item: moment(item["created_at"]),
        "id": lambda item: item["id"],
    }


def _cap_options(command: Any) -> Any:
    for measure in reversed(WINDOWS):
        said = ", ".join(WINDOWS[measure]) if measure != "concurrency" else "calls at a time"
        option = click.option(
            f"--{measure}",
            multiple=True,
            callback=lambda _context, _option, values, measure=measure: [_cap(measure, each) for each in values],
            metavar=caps.EXAMPLES[measure],
            help=f"A hard limit ({said}); may be given again.",
        )
        command = option(command)
    return command


def _cap(measure: Measure, text: str) -> caps.Cap:
    try:
        return caps.read(measure, text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _term_options(command: Any) -> Any:
    for option in (
        click.option("--expires", type=str, metavar="WHEN", help="`90d`, a date (UTC), RFC 3339, or `never`."),
        click.option("--role", help="What it may on the management API; an empty one: nothing."),
        click.option("--address", "addresses", multiple=True, metavar="CIDR", help="Used from here only; again: more."),
        click.option("--provider", "providers", multiple=True, help="May reach this one only; again: more."),
        click.option(
            "--model", "models", multiple=True, metavar="PATTERN", help="May ask for these only; again: more."
        ),
        click.option("--scope", "scopes", multiple=True, help=f"What for ({', '.join(sorted(SCOPES))}); again: more."),
        click.option("--owner", help="A label."),
        click.option("--user", metavar="EMAIL", help="Whose it is; an empty one: nobody's."),
    ):
        command = option(command)
    return command


def _cut_option(command: Any) -> Any:
    return click.option("--cut", is_flag=True, help="End running calls of the key, too; else they end as they would.")(
        command
    )


@click.group(name="key")
def command() -> None:
    """Gateway keys."""


@command.command(name="create")
@click.argument("name")
@click.option("--project", metavar="NAME", help="What it belongs to; else `default`, or that of the key that makes it.")
@click.option(
    "--environment",
    type=click.Choice(["live", "test"]),
    default="live",
    show_default=True,
    help="`test` keys reach the simulated provider and test credentials.",
)
@_term_options
@_cap_options
@click.option("--no-limits", is_flag=True, help="Without any; else, if none is named, 60 requests a minute.")
@format_option
@api_options
def create(where: Where, /, form: str, name: str, no_limits: bool, **given: Any) -> None:
    """Make a gateway key and call it NAME. Prints the key, once, and the lines that have SDKs use it."""
    found: list[caps.Cap] = [cap for measure in WINDOWS for cap in given.pop(measure)]
    if no_limits and found:
        raise click.UsageError("--no-limits excludes limits.")
    limits = [{"measure": each.measure, "window": each.window, "cap": each.amount} for each in found]

    async def work(api: Api) -> tuple[Mapping[str, Any], bool]:
        body = await _body(api, given) | {"name": name}
        if limits or no_limits:
            body["limits"] = limits
        there = await api.every(path("key"), most=1, name=name)
        return await api.post(path("key"), body), bool(there)

    made, shared = where.run(work)
    _echo_made(form, made)
    if shared:
        click.echo(f"another key is called {clean(name)}, too: name this one by its id, {clean(made['id'])}", err=True)


@command.command(name="list")
@click.option("--project", metavar="NAME", help="Only those of this project.")
@click.option("--user", metavar="EMAIL", help="Only those of this user.")
@click.option("--revoked", is_flag=True, help="Those that were revoked, instead.")
@format_option
@api_options
def list_(where: Where, /, form: str, project: str | None, user: str | None, revoked: bool) -> None:
    """List gateway keys, newest first, masked."""

    async def work(api: Api) -> tuple[list[dict[str, Any]], Shown]:
        of = await identified(api, "project", project) if project else None
        whose = await identified(api, "user", user) if user else None
        items = await api.every(path("key"), project=of, user=whose, revoked=revoked)
        named = form != "json" and bool(items)
        columns = _columns(await labels(api, "project"), await labels(api, "user")) if named else {}
        return items, columns

    items, columns = where.run(work)
    echo_list(form, items, columns, "There are no keys.")


@command.command(name="show")
@click.argument("name")
@format_option
@api_options
def show(where: Where, /, form: str, name: str) -> None:
    """Show the gateway key NAME (or an id), masked, and its limits."""

    async def work(api: Api) -> tuple[dict[str, Any], list[dict[str, Any]], Mapping[str, str], Mapping[str, str]]:
        found = await called(api, "key", name)
        limits = await api.every("/api/v1/limits", scope="key", scope_id=found["counts_as"])
        return found, limits, await labels(api, "project"), await labels(api, "user")

    found, limits, projects, users = where.run(work)
    shown = told(found) | {
        "project": projects.get(found["project"], found["project"]),
        "user": users.get(found["user"], found["user"]),
        "limits": [in_use_told(each) for each in limits],
    }
    echo_item(form, {**found, "limits": limits}, shown)


@command.command(name="update")
@click.argument("key", metavar="NAME")
@click.option("--name", help="A new name.")
@_term_options
@click.option("--enable", is_flag=True, help="Take it again, after `disable`.")
@format_option
@api_options
def update(where: Where, /, form: str, key: str, enable: bool, **given: Any) -> None:
    """Change the gateway key NAME; what is not named stays. Lists are replaced; an empty value empties them."""

    async def work(api: Api) -> tuple[Mapping[str, Any], Mapping[str, str], Mapping[str, str]]:
        asked = wanted(await _body(api, given), enable)
        return await names.patch(api, "key", key, asked), await labels(api, "project"), await labels(api, "user")

    changed, projects, users = where.run(work)
    named = {
        "project": projects.get(changed["project"], changed["project"]),
        "user": users.get(changed["user"], changed["user"]),
    }
    echo_item(form, changed, told(changed) | named)


@command.command(name="disable")
@click.argument("name")
@_cut_option
@api_options
def disable(where: Where, /, name: str, cut: bool) -> None:
    """Refuse the gateway key NAME until `update --enable`. Returns when every worker does.

    Named by its name, what it was rotated from is refused, too."""

    async def work(api: Api) -> None:
        for each in await rotations(api, name):
            await api.patch(path("key", each), {"disabled": True}, cut=cut or None)

    where.run(work)
    click.echo(f"key {clean(name)} is disabled")


@command.command(name="revoke")
@click.argument("name")
@_cut_option
@api_options
def revoke(where: Where, /, name: str, cut: bool) -> None:
    """Revoke the gateway key NAME for good. Returns when no worker takes it any more.

    Named by its name, what it was rotated from is revoked, too."""

    async def work(api: Api) -> None:
        for each in await rotations(api, name):
            await api.delete(path("key", each), cut=cut or None)

    where.run(work)
    click.echo(f"key {clean(name)} is revoked")


command.add_command(revoke, "delete")


@command.command(name="rotate")
@click.argument("name")
@click.option(
    "--overlap", type=SpanType(), default="1d", show_default=True, help="So long the old one is still taken; `0`: not."
)
@format_option
@api_options
def rotate(where: Where, /, form: str, name: str, overlap: int) -> None:
    """Replace the gateway key NAME by a new one with its limits. Prints the new key, once."""

    async def work(api: Api) -> Mapping[str, Any]:
        place = path("key", await identified(api, "key", name))
        return await api.post(f"{place}/rotate", {"overlap_seconds": overlap})

    _echo_made(form, where.run(work))


def state(key: Mapping[str, Any]) -> str:
    """Whether it is accepted, in a word."""
    now = datetime.now(UTC)
    for name in ("revoked", "disabled"):
        if key[f"{name}_at"] is not None:
            return name
    if key["retires_at"] is not None:
        over = datetime.fromisoformat(key["retires_at"]) <= now
        return "rotated" if over else f"until {moment(key['retires_at'])}"
    expires = key["expires_at"]
    return "expired" if expires is not None and datetime.fromisoformat(expires) <= now else "active"


def told(key: Mapping[str, Any]) -> dict[str, Any]:
    """What a table shows of a key."""
    anything = {name: key[name] or "any" for name in ("models", "providers", "addresses")}
    return {
        "name": key["name"],
        "id": key["id"],
        "key": key["key"],
        "state": state(key),
        "project": key["project"],
        "environment": key["environment"],
        "user": key["user"],
        "owner": key["owner"],
        "scopes": key["scopes"] or "none",
        **anything,
        "role": key["role"],
        "expires": moment(key["expires_at"]),
        "created": moment(key["created_at"]),
    }


def _echo_made(form: str, made: Mapping[str, Any]) -> None:
    """A key with its text."""
    if form == "json":
        echo_item(form, made)
        return
    click.echo(clean(made["key"]))
    click.echo(f"\n# {clean(made['name'] or made['id'])} ({made['id']})", nl=False)
    click.echo("".join(f", {terms_told(each)}" for each in made["limits"]))
    click.echo(f"# {_ABOUT}")
    for sdk, lines in made["exports"].items():
        click.echo(f"\n# {clean(sdk)}")
        for line in lines:
            click.echo(clean(line))


async def _body(api: Api, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the options name, as the API takes it."""
    body = {name: value for name, value in given.items() if value is not None and value != ()}
    for name in _LISTS:
        if name in body:
            body[name] = [each for each in body[name] if each]
    if "role" in body:
        body["role"] = body["role"] or None
    if "user" in body:
        body["user"] = await identified(api, "user", body["user"]) if body["user"] else None
    if "project" in body:
        body["project"] = await identified(api, "project", body["project"])
    if "expires" in body:
        body["expires_at"] = _deadline(body.pop("expires"))
    return body


def _deadline(text: str) -> str | None:
    if text == NEVER:
        return None
    try:
        return times.rfc3339(times.of(ahead(text, datetime.now(UTC))))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--expires'") from error
