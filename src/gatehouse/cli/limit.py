"""`gatehouse limit`: caps on requests, tokens, calls at a time and spend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

import click

from gatehouse.cli import caps
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.listing import Shown, echo_item, echo_list, format_option, moment
from gatehouse.cli.names import Kind, identified, labels
from gatehouse.cli.options import wanted
from gatehouse.config.printable import clean
from gatehouse.model.limits import WINDOWS, Measure, ScopeKind

PATH: Final = "/api/v1/limits"
NAMED: Final[Mapping[str, Kind]] = {"project": "project", "key": "key", "user": "user", "credential": "credential"}
"""What is limited by its name on the command line, and by its id in the API."""
IDENTITY: Final = "identity"
"""A user whom identity tokens name, and the directory does not."""
SCOPES: Final = (*get_args(ScopeKind), IDENTITY)


def _columns(names: Mapping[str, str]) -> Shown:
    return {
        "on": lambda item: _on(item, names),
        "limit": lambda item: caps.written(item["measure"], item["window"], item["cap"]),
        "measure": lambda item: item["measure"],
        "used": used_told,
        "hard": lambda item: item["hard"],
        "at cap": lambda item: item["at_cap"],
        "id": lambda item: item["id"],
    }


def _term_options(command: Any) -> Any:
    for option in (
        click.option(
            "--share", "max_reserved_share", type=int, metavar="PERCENT", help="What one key's running calls may hold."
        ),
        click.option("--assume", metavar="0.10usd", help="What a call without a bound reserves; else it is refused."),
        click.option("--when-down", type=click.Choice(["open", "closed"]), help="Where the shared ledger is away."),
        click.option(
            "--on-unknown", type=click.Choice(["bound", "estimate"]), help="What a call of unknown usage settles by."
        ),
        click.option(
            "--at-cap", type=click.Choice(["reject", "clamp"]), help="`clamp`: the output maximum is lowered instead."
        ),
        click.option("--hard", type=bool, metavar="yes|no", help="Never exceeded; `no`: exceeding it is an event."),
    ):
        command = option(command)
    return command


@click.group(name="limit")
def command() -> None:
    """Caps on requests, tokens, calls at a time and spend."""


@command.command(name="create")
@click.argument("scope", type=click.Choice(SCOPES))
@click.argument("name", required=False)
@click.option("--requests", metavar="60/minute", help="Requests per minute, hour or day.")
@click.option("--tokens", metavar="200k/minute", help="Tokens per minute or day.")
@click.option("--concurrency", metavar="4", help="Calls at a time.")
@click.option("--spend", metavar="50usd/month", help="Spend per day, month or in total.")
@_term_options
@format_option
@api_options
def create(where: Where, /, form: str, scope: str, name: str | None, **given: Any) -> None:
    """Limit the tenant, or the project, key, user, model or credential NAME; or the user whom an identity token calls
    so."""
    if (name is None) != (scope == "tenant"):
        raise click.UsageError("Name what is limited." if name is None else "A tenant's limit takes no name.")
    named = [(measure, given.pop(measure)) for measure in WINDOWS]
    chosen = [(measure, text) for measure, text in named if text is not None]
    if len(chosen) != 1:
        raise click.UsageError("Name just one of --requests, --tokens, --concurrency and --spend: each is a limit.")
    measure, text = chosen[0]
    try:
        cap = caps.read(measure, text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=f"'--{measure}'") from error
    body = _terms(given) | {"measure": cap.measure, "window": cap.window, "cap": cap.amount}

    async def work(api: Api) -> Mapping[str, Any]:
        on = await scoped(api, scope, name)
        return await api.post(PATH, body | {"scope": scope_kind(scope), "scope_id": on})

    made = where.run(work)
    _echo(form, made, {made["scope_id"]: name or ""})


@command.command(name="list")
@click.argument("scope", type=click.Choice(SCOPES), required=False)
@click.argument("name", required=False)
@format_option
@api_options
def list_(where: Where, /, form: str, scope: str | None, name: str | None) -> None:
    """List limits, newest first: all, or those on a kind of thing, or on the one called NAME."""

    async def work(api: Api) -> tuple[list[dict[str, Any]], Mapping[str, str]]:
        on = None if name is None else await scoped(api, scope or "", name)
        items = await api.every(PATH, scope=scope_kind(scope), scope_id=on)
        return items, ({} if form == "json" else await _names(api, items))

    items, names = where.run(work)
    echo_list(form, items, _columns(names), "There are no limits.")


@command.command(name="show")
@click.argument("id_", metavar="ID")
@format_option
@api_options
def show(where: Where, /, form: str, id_: str) -> None:
    """Show the limit ID."""

    async def work(api: Api) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        found = await api.get(f"{PATH}/{_id(id_)}")
        return found, await _names(api, [found])

    _echo(form, *where.run(work))


@command.command(name="update")
@click.argument("id_", metavar="ID")
@click.option("--cap", metavar="AMOUNT", help="A new cap of the same measure and window: `80usd`, `120`, `300k`.")
@_term_options
@format_option
@api_options
def update(where: Where, /, form: str, id_: str, cap: str | None, **given: Any) -> None:
    """Change the limit ID; what is not named stays. Returns when every worker goes by it."""
    body = _terms(given)

    async def work(api: Api) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        place = f"{PATH}/{_id(id_)}"
        if cap is not None:
            found = await api.get(place)
            body["cap"] = _amount(found, cap)
        changed = await api.patch(place, wanted(body))
        return changed, await _names(api, [changed])

    _echo(form, *where.run(work))


@command.command(name="disable")
@click.argument("id_", metavar="ID")
@api_options
def disable(where: Where, /, id_: str) -> None:
    """Have the limit ID refuse nothing any more: exceeding it is an event. `update --hard yes` undoes it."""

    async def work(api: Api) -> None:
        await api.patch(f"{PATH}/{_id(id_)}", {"hard": False})

    where.run(work)
    click.echo(f"limit {clean(id_)} refuses nothing any more")


@command.command(name="delete")
@click.argument("id_", metavar="ID")
@api_options
def delete(where: Where, /, id_: str) -> None:
    """Delete the limit ID. What was counted stays counted: a new one like it begins with that."""

    async def work(api: Api) -> None:
        await api.delete(f"{PATH}/{_id(id_)}")

    where.run(work)
    click.echo(f"limit {clean(id_)} is deleted")


def scope_kind(scope: str | None) -> str | None:
    """As the API calls it."""
    return "user" if scope == IDENTITY else scope


async def scoped(api: Api, scope: str, name: str | None) -> str | None:
    """What a limit is on, as the API names it. Raises `click.ClickException`."""
    if name is None or scope not in NAMED:
        return name
    return await identified(api, NAMED[scope], name)


def terms_told(limit: Mapping[str, Any]) -> str:
    """A limit in a few words, without what it is on: `requests 60/minute`."""
    soft = "" if limit["hard"] else " (soft)"
    return f"{limit['measure']} {caps.written(limit['measure'], limit['window'], limit['cap'])}{soft}"


def in_use_told(limit: Mapping[str, Any]) -> str:
    """The same, with how much is used where that is known."""
    used = used_told(limit)
    return terms_told(limit) + (f": {used}" if used is not None else "")


def used_told(limit: Mapping[str, Any]) -> str | None:
    """How much of one on spend is used: `12.5usd (25 %), 0.1usd reserved`; `None`: not known here."""
    used = limit.get("used")
    if used is None:
        return None
    settled, reserved = used["settled"], used["reserved"]
    share = f" ({100 * settled // limit['cap']} %)" if limit["cap"] else ""
    held = f", {caps.written_amount('spend', reserved)} reserved" if reserved else ""
    return f"{caps.written_amount('spend', settled)}{share}{held}"


def _when_down(limit: Mapping[str, Any]) -> str:
    """What holds for one that does not say so, where the shared ledger is away."""
    return "closed" if limit["hard"] and limit["measure"] == "spend" else "open"


def _terms(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the options name, as the API takes it. Raises `click.BadParameter`."""
    body = {name: value for name, value in given.items() if value is not None}
    if "assume" in body:
        body["assumed"] = _read_amount("spend", body.pop("assume"), "--assume")
    return body


def _amount(limit: Mapping[str, Any], text: str) -> int:
    amount, slash, window = text.partition("/")
    if slash and window != limit["window"]:
        raise click.BadParameter(f"this limit is per {limit['window']}; make another one", param_hint="'--cap'")
    return _read_amount(limit["measure"], amount, "--cap")


def _read_amount(measure: Measure, text: str, option: str) -> int:
    try:
        return caps.read_amount(measure, text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=f"'{option}'") from error


def _id(text: str) -> str:
    if not text.startswith("lim_") or not text.isascii() or not text.isidentifier():
        raise click.UsageError(f"{clean(text)} is no limit's id; `gatehouse limit list` shows them.")
    return text


def _on(limit: Mapping[str, Any], names: Mapping[str, str]) -> str:
    if limit["scope"] == "tenant":
        return "tenant"
    return f"{limit['scope']} {names.get(limit['scope_id'], limit['scope_id'])}"


def _echo(form: str, limit: Mapping[str, Any], names: Mapping[str, str]) -> None:
    assumed = limit["assumed"]
    shown = {
        "id": limit["id"],
        "on": _on(limit, names),
        "limit": terms_told(limit),
        "used": used_told(limit),
        "at cap": limit["at_cap"],
        "on unknown": limit["on_unknown"],
        "when down": limit["when_down"] or f"{_when_down(limit)} (unless set)",
        "assumed": None if assumed is None else caps.written_amount("spend", assumed),
        "share": f"{limit['max_reserved_share']} %",
        "created": moment(limit["created_at"]),
    }
    echo_item(form, limit, shown)


async def _names(api: Api, limits: list[dict[str, Any]]) -> dict[str, str]:
    """Of what these limits are on, by id."""
    found: dict[str, str] = {}
    for scope in {each["scope"] for each in limits} & NAMED.keys():
        found |= await labels(api, NAMED[scope])
    return found
