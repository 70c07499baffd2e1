"""`gatehouse audit`: who changed what, and who signed in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec

from gatehouse.cli import caps
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.limit import NAMED
from gatehouse.cli.listing import Shown, echo_list, moment
from gatehouse.cli.moments import Moment, MomentType, at
from gatehouse.cli.names import labels
from gatehouse.cli.terminal import csv_text, json_line
from gatehouse.gateway.notices import LIMIT_EXCEEDED, LIMIT_THRESHOLD
from gatehouse.model.limits import LimitEntry, of_counter
from gatehouse.store import times
from gatehouse.store.audit import AuditItem
from gatehouse.store.tables import columns, csv_head, csv_lines

MOST: Final = 100
"""Events of a table, unless said otherwise."""

_PASSED: Final = (LIMIT_THRESHOLD, LIMIT_EXCEEDED)


def _columns(names: Mapping[str, str]) -> Shown:
    return {
        "at": lambda item: moment(item["at"]),
        "action": lambda item: item["action"],
        "by": lambda item: f"{item['actor_kind']} {item['actor'] or ''}".strip(),
        "on": lambda item: f"{item['target_kind']} {item['target']}",
        "details": lambda item: _details(item, names),
    }


def event_options(command: Any) -> Any:
    """Those that `audit` and `events` share."""
    for option in (
        click.option(
            "--format",
            "form",
            type=click.Choice(["table", "json", "jsonl", "csv"]),
            default="table",
            show_default=True,
            help="`jsonl` and `csv`: an event a line.",
        ),
        click.option("--most", type=click.IntRange(1), help=f"So many, the newest; else {MOST}, as lines all."),
        click.option("--until", type=MomentType(), help="The same; now, if not given."),
        click.option("--since", type=MomentType(), default="all", help="A span, a date (UTC), or `all` (the default)."),
    ):
        command = option(command)
    return command


@click.command(name="audit")
@event_options
@click.option("--action", multiple=True, help="Only this one, such as `key.create`; may be given again.")
@click.option("--actor", metavar="ID", help="Only what this user, key or token did.")
@click.option("--target", metavar="ID", help="Only what was done to this.")
@click.option("--calls", is_flag=True, help="With an `auth.token.used` for each call made with a key or token.")
@api_options
def command(where: Where, /, action: Sequence[str], calls: bool, **given: Any) -> None:
    """List administrative changes and log-ins, newest first."""
    told = {"actor": given.pop("actor"), "target": given.pop("target"), "include": "calls" if calls else None}
    echo_events(where, "/api/v1/audit", told | {"action": list(action) or None}, **given)


def echo_events(
    where: Where,
    path: str,
    asked: Mapping[str, Any],
    *,
    form: str,
    most: int | None,
    since: Moment,
    until: Moment,
) -> None:
    """Events of a route in a form; `asked`: its parameters."""
    now = datetime.now(UTC)
    window = {name: _said(at(moment, now)) for name, moment in (("since", since), ("until", until))}
    lines = form in ("jsonl", "csv")
    found = most if most is not None or lines else MOST

    async def listed(api: Api) -> tuple[list[dict[str, Any]], Mapping[str, str]]:
        items = await api.every(path, most=found, **asked, **window)
        return items, ({} if form == "json" else await _names(api, items))

    async def printed(api: Api) -> None:
        await _print(api.pages(path, most=found, **asked, **window), _csv() if form == "csv" else _json)

    if lines:
        where.run(printed, records=True)
    else:
        items, names = where.run(listed, records=True)
        echo_list(form, items, _columns(names), "Nothing is on record.")


def _counter(item: Mapping[str, Any]) -> LimitEntry | None:
    """What a limit's event is about; `None` for any other event."""
    if item["action"] not in _PASSED:
        return None
    try:
        return of_counter(str(item["details"].get("counter", "")))
    except ValueError:
        return None


def _details(item: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    """What an event says besides. Of a limit in its own words, as `gatehouse limit` has them."""
    said, counter = item["details"], _counter(item)
    if counter is None or not all(isinstance(said.get(name), int) for name in ("percent", "used", "cap")):
        return said
    scope, on, measure = counter.scope, counter.scope_id, counter.measure
    whose = "tenant" if scope == "tenant" else f"{scope} {names.get(on, on)}"
    used, cap = caps.written_amount(measure, said["used"]), caps.written(measure, counter.window, said["cap"])
    soft = "" if said.get("hard") else " (soft)"
    return f"{said['percent']} % of {whose}'s {measure} {cap}{soft}: {used} used"


async def _names(api: Api, items: list[dict[str, Any]]) -> dict[str, str]:
    """Of what limits are on that these events are about, by id."""
    found: dict[str, str] = {}
    for scope in {counter.scope for counter in map(_counter, items) if counter is not None} & NAMED.keys():
        found |= await labels(api, NAMED[scope])
    return found


async def _print(pages: AsyncIterator[list[dict[str, Any]]], words: Callable[[list[dict[str, Any]]], str]) -> None:
    async for page in pages:
        click.echo(words(page), nl=False)


def _json(page: list[dict[str, Any]]) -> str:
    return "".join(f"{json_line(each)}\n" for each in page)


def _csv() -> Callable[[list[dict[str, Any]]], str]:
    wanted = columns(AuditItem)
    head = [csv_head(wanted)]

    def words(page: list[dict[str, Any]]) -> str:
        text = csv_lines(wanted, msgspec.convert(page, list[AuditItem]))
        return csv_text((head.pop() if head else "") + text)

    return words


def _said(moment: datetime | None) -> str | None:
    return None if moment is None else times.rfc3339(times.of(moment))
