"""Changes of the administrative state, and log-ins, as the collector found them in the journal: the table `audit`.

Rules: an `Audit` is made with what it may see (I6); a narrowed one shows what its own user or key did. Newest first
along (tenant, id), since ids are UUIDv7s and sort by time. That a key or token was used is on record as its call: such
events are made from the calls when they are asked for, and kept nowhere. So an event's id and a call's id count as one
number, which cursors are made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import present, times
from gatehouse.store.directory import ids
from gatehouse.store.engine import transaction
from gatehouse.store.present import CursorError
from gatehouse.store.queries import Queries, TraceFilter
from gatehouse.store.rows import AuditRow
from gatehouse.store.schema import audit
from gatehouse.store.sight import Sight
from gatehouse.store.views import Time, TraceSummary

USED: Final = "auth.token.used"
"""The action of an event that a call is."""
CALL: Final = "call"
"""The kind of its target."""

_COLUMNS: Final = tuple(audit.c[name] for name in AuditRow.__struct_fields__)
_SLACK: Final = 3_600_000_000
"""How far an event's time and that of its id may be apart: clocks are set."""
_LOWEST: Final = 7 << 76 | 2 << 62
"""What is not time in the lowest UUIDv7 of a millisecond."""


class AuditFilter(msgspec.Struct, frozen=True):
    """Which events. What is `None` or empty does not filter; of several values any may match."""

    since: int | None = None
    """At or after this time, microseconds since the epoch."""
    until: int | None = None
    """Before this time."""
    actions: tuple[str, ...] = ()
    actor_kinds: tuple[str, ...] = ()
    actor: str | None = None
    target_kind: str | None = None
    target: str | None = None


class Recorded(msgspec.Struct, frozen=True):
    """Where in the journal an event stands."""

    lane: str
    seq: int


class AuditItem(msgspec.Struct, frozen=True, kw_only=True):
    """One event."""

    id: str
    """Of `auth.token.used` the call's."""
    at: Time
    actor_kind: str
    """`user`, `key`, `token`, `operator` or `system`."""
    actor: str | None
    """Id of who acted."""
    action: str
    """`key.create`, `auth.login` …"""
    target_kind: str
    target: str
    details: dict[str, Any]
    """Ids, numbers and flags."""
    record: Recorded | None
    """`null` of a call whose decision is not collected yet."""


class AuditPage(msgspec.Struct, frozen=True):
    """A page of events, newest first. `next_cursor` is `null` at the end; a page before may hold fewer than asked."""

    items: list[AuditItem]
    next_cursor: str | None


class Audit:
    """The events that may be seen. Every method raises `StoreError`."""

    def __init__(self, engine: AsyncEngine, sight: Sight) -> None:
        self._engine = engine
        self._sight = sight

    async def page(
        self, wanted: AuditFilter, limit: int, cursor: str | None = None, *, include_calls: bool = False
    ) -> AuditPage:
        """Events, newest first; `include_calls`: with one for each call of a key or token. Raises `CursorError`."""
        below = None if cursor is None else _number_at(cursor)
        older = [] if below is None else [audit.c.id < ids.named("event", below)]
        rows = await self._rows([*older, *self._conditions(wanted)], limit + 1, newest_first=True)
        found = [(ids.uuid_of("event", row.id), _item(row)) for row in rows]
        # What lies below the last row is not known.
        floor = found[-1][0] if len(found) > limit else None
        if include_calls and _may_be_calls(wanted):
            used, reached = await self._used(wanted, limit, below)
            found += used
            floor = max(filter(None, (floor, reached)), default=None)
        shown = sorted((each for each in found if floor is None or each[0] >= floor), key=_number, reverse=True)
        if len(shown) > limit:
            shown = shown[:limit]
            floor = shown[-1][0]
        return AuditPage([item for _, item in shown], None if floor is None else present.cursor(str(floor)))

    async def after(self, event: str | None, wanted: AuditFilter, limit: int) -> list[AuditItem]:
        """Events with a higher id than this one's, oldest first.

        What other processes wrote is collected a moment after it happened: an event may come to stand before one that
        was there already. Whoever must see each asks for those of some seconds ago (`until`).
        """
        newer = [] if event is None else [audit.c.id > event]
        rows = await self._rows([*newer, *self._conditions(wanted)], limit, newest_first=False)
        return [_item(row) for row in rows]

    async def _rows(self, wanted: list[ColumnElement[bool]], limit: int, *, newest_first: bool) -> Sequence[Any]:
        order = audit.c.id.desc() if newest_first else audit.c.id.asc()
        statement = select(*_COLUMNS).where(audit.c.tenant == self._sight.tenant, *wanted).order_by(order).limit(limit)
        async with transaction(self._engine, self._sight.tenant) as connection:
            return (await connection.execute(statement)).all()

    def _conditions(self, wanted: AuditFilter) -> list[ColumnElement[bool]]:
        a = audit.c
        found: list[ColumnElement[bool]] = []
        if wanted.since is not None:
            found += [a.at >= wanted.since, a.id >= _first(wanted.since - _SLACK)]
        if wanted.until is not None:
            found += [a.at < wanted.until, a.id < _first(wanted.until + _SLACK)]
        for column, values in ((a.action, wanted.actions), (a.actor_kind, wanted.actor_kinds)):
            if values:
                found.append(column.in_(values))
        equal = {a.actor: wanted.actor, a.target_kind: wanted.target_kind, a.target: wanted.target}
        found += [column == value for column, value in equal.items() if value is not None]
        for kind, own in (("user", self._sight.user), ("key", self._sight.key)):
            if own is not None:
                found += [a.actor_kind == kind, a.actor == own]
        return found

    async def _used(
        self, wanted: AuditFilter, limit: int, below: UUID | None
    ) -> tuple[list[tuple[UUID, AuditItem]], UUID | None]:
        """Events that calls are, and down to which number all of them are known."""
        queries = Queries(self._engine, self._sight)
        if wanted.target is not None:
            calls, reached = await queries.among([wanted.target], TraceFilter()), None
        else:
            which = TraceFilter(since=wanted.since, until=wanted.until)
            page = await queries.page(which, limit, None if below is None else present.cursor(str(below)))
            calls, reached = page.items, page.next_cursor
        found = [(UUID(call.id), _event(call)) for call in calls if call.key is not None or call.user is not None]
        shown = [each for each in found if _is_wanted(each[1], wanted, below, each[0])]
        return shown, None if reached is None else UUID(present.call_at(reached))


def _may_be_calls(wanted: AuditFilter) -> bool:
    return (not wanted.actions or USED in wanted.actions) and wanted.target_kind in (None, CALL)


def _is_wanted(item: AuditItem, wanted: AuditFilter, below: UUID | None, number: UUID) -> bool:
    """What is left to check of an event that a call is."""
    at = times.parse(item.at)
    return (
        (below is None or number < below)
        and (wanted.since is None or at >= wanted.since)
        and (wanted.until is None or at < wanted.until)
        and (not wanted.actor_kinds or item.actor_kind in wanted.actor_kinds)
        and wanted.actor in (None, item.actor)
    )


def _item(row: Any) -> AuditItem:
    return AuditItem(
        id=row.id,
        at=times.rfc3339(row.at),
        actor_kind=row.actor_kind,
        actor=row.actor,
        action=row.action,
        target_kind=row.target_kind,
        target=row.target,
        details=msgspec.json.decode(row.details, type=dict[str, Any]),
        record=Recorded(row.lane, row.seq),
    )


def _event(call: TraceSummary) -> AuditItem:
    """That a call was made with a gateway key, or with an identity token alone."""
    told = {
        "project": call.project,
        "provider": call.provider,
        "route": call.route,
        "status": call.status,
        "user": call.user,
    }
    decided = call.decision_record
    return AuditItem(
        id=call.id,
        at=call.started_at,
        actor_kind="user" if call.key is None else "key",
        actor=call.user if call.key is None else call.key,
        action=USED,
        target_kind=CALL,
        target=call.id,
        details={name: value for name, value in told.items() if value is not None},
        record=None if decided is None else Recorded(decided.lane, decided.seq),
    )


def _number(each: tuple[UUID, AuditItem]) -> UUID:
    return each[0]


def _number_at(cursor: str) -> UUID:
    try:
        return UUID(present.id_at(cursor))
    except CursorError:
        raise
    except ValueError as error:
        raise CursorError("not a cursor of this API") from error


def _first(microseconds: int) -> str:
    """What no event's id of that time or later sorts before."""
    milliseconds = min(max(microseconds // 1000, 0), 2**48 - 1)
    return ids.named("event", UUID(int=milliseconds << 80 | _LOWEST))
