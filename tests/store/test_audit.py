"""Events of the administrative state: filters, pages, calls among them (P8, I6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gatehouse.store import engine, present, times
from gatehouse.store.audit import USED, Audit, AuditFilter, AuditItem, Recorded
from gatehouse.store.directory import ids
from gatehouse.store.rows import AuditRow, Batch
from gatehouse.store.sight import Sight
from tests.store import databases
from tests.store.samples import LANE, START, call_id, concluded, decided, opened

SECOND = 1_000_000
ALL = AuditFilter()


def _event(number: int, **changed: Any) -> AuditRow:
    """One a second."""
    at = START + number * SECOND
    row: dict[str, Any] = {
        "tenant": "default",
        "id": ids.named("event", UUID(call_id(at, number))),
        "at": at,
        "actor_kind": "user",
        "actor": "usr_1",
        "action": "key.create",
        "target_kind": "key",
        "target": f"key_{number}",
        "details": '{"project":"default","count":2}',
        "lane": LANE,
        "seq": 10 + number,
    }
    return AuditRow(**{**row, **changed})


EVENTS = (
    _event(0),
    _event(2, action="key.revoke"),
    _event(4, actor_kind="key", actor="key_7", action="auth.login", target_kind="session", target="ses_1"),
    _event(6, tenant="b"),
    _event(8, actor_kind="system", actor=None, action="limit.threshold", target_kind="limit", target="lim_1"),
)
CALLS = (
    decided(call_id(START + SECOND, 1), key_id="key_7", user_id="usr_1"),
    decided(call_id(START + 3 * SECOND, 3), user_id="usr_2"),
    decided(call_id(START + 5 * SECOND, 5)),
    decided(call_id(START + 7 * SECOND, 7), tenant="b", key_id="key_8"),
)


@asynccontextmanager
async def _audit(place: Path, sight: Sight = Sight("default")) -> AsyncIterator[Audit]:  # noqa: B008 - frozen
    async with opened(place) as (writer, _):
        await writer.apply(Batch(CALLS, tuple(concluded(CALLS[n].call) for n in (0, 1, 2)), audit=EVENTS))
    reading = engine.reader(databases.url(place))
    try:
        yield Audit(reading, sight)
    finally:
        await reading.dispose()


async def _paged(audit: Audit, wanted: AuditFilter, limit: int, *, include_calls: bool) -> list[AuditItem]:
    found: list[AuditItem] = []
    cursor = None
    for _ in range(20):
        page = await audit.page(wanted, limit, cursor, include_calls=include_calls)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("the pages do not end")


def _seconds(items: list[AuditItem]) -> list[int]:
    return [(times.parse(item.at) - START) // SECOND for item in items]


def test_filters(place: Path) -> None:
    asked: list[tuple[AuditFilter, list[int]]] = [
        (ALL, [8, 4, 2, 0]),
        (AuditFilter(actions=("key.create", "key.revoke")), [2, 0]),
        (AuditFilter(actor_kinds=("key", "system")), [8, 4]),
        (AuditFilter(actor="usr_1"), [2, 0]),
        (AuditFilter(target_kind="session"), [4]),
        (AuditFilter(target="key_2"), [2]),
        (AuditFilter(since=START + 2 * SECOND, until=START + 8 * SECOND), [4, 2]),
        (AuditFilter(until=START), []),
    ]

    async def run() -> None:
        async with _audit(place) as audit:
            for wanted, expected in asked:
                assert _seconds((await audit.page(wanted, 50)).items) == expected, wanted
                for limit in (1, 2, 3):
                    assert _seconds(await _paged(audit, wanted, limit, include_calls=False)) == expected, wanted
                assert _seconds(await audit.after(None, wanted, 50)) == expected[::-1], wanted

    asyncio.run(run())


def test_an_event_as_it_is_told(place: Path) -> None:
    async def run() -> None:
        async with _audit(place) as audit:
            [item] = (await audit.page(AuditFilter(target="key_0"), 1)).items
            assert item == AuditItem(
                id=EVENTS[0].id,
                at=times.rfc3339(START),
                actor_kind="user",
                actor="usr_1",
                action="key.create",
                target_kind="key",
                target="key_0",
                details={"project": "default", "count": 2},
                record=Recorded(LANE, 10),
            )
            after = await audit.after(EVENTS[1].id, ALL, 1)
            assert [each.id for each in after] == [EVENTS[2].id]

    asyncio.run(run())


def test_the_use_of_a_key_or_token_is_its_calls(place: Path) -> None:
    """P8 `auth.token.used`: of calls with neither there is none."""
    asked: list[tuple[AuditFilter, list[int]]] = [
        (ALL, [8, 4, 3, 2, 1, 0]),
        (AuditFilter(actions=(USED,)), [3, 1]),
        (AuditFilter(actions=("key.create",)), [0]),
        (AuditFilter(actor="key_7"), [4, 1]),
        (AuditFilter(actor_kinds=("user",)), [3, 2, 0]),
        (AuditFilter(target_kind="call"), [3, 1]),
        (AuditFilter(target_kind="key"), [2, 0]),
        (AuditFilter(target=CALLS[0].call), [1]),
        (AuditFilter(target="no call"), []),
        (AuditFilter(since=START + SECOND, until=START + 4 * SECOND), [3, 2, 1]),
    ]

    async def run() -> None:
        async with _audit(place) as audit:
            for wanted, expected in asked:
                for limit in (1, 2, 3, 4, 50):
                    assert _seconds(await _paged(audit, wanted, limit, include_calls=True)) == expected, wanted

    asyncio.run(run())


def test_a_call_as_an_event(place: Path) -> None:
    async def run() -> None:
        async with _audit(place) as audit:
            token, key = (await audit.page(AuditFilter(actions=(USED,)), 5, include_calls=True)).items
            assert (token.actor_kind, token.actor, token.target, token.id) == ("user", "usr_2", *[CALLS[1].call] * 2)
            assert (key.actor_kind, key.actor, key.action, key.target_kind) == ("key", "key_7", USED, "call")
            told = {"project": "default", "provider": "openai", "route": "openai/chat", "status": 200}
            assert key.details == {**told, "user": "usr_1"}
            assert key.record == Recorded(LANE, 2)

    asyncio.run(run())


def test_each_sees_its_own(place: Path) -> None:
    """I6, A7."""

    async def run() -> None:
        for sight, expected in (
            (Sight("b"), [7, 6]),
            (Sight("default", user="usr_1"), [2, 1, 0]),
            (Sight("default", key="key_7"), [4, 1]),
            (Sight("c"), []),
        ):
            async with _audit(place, sight) as audit:
                assert _seconds(await _paged(audit, ALL, 3, include_calls=True)) == expected

    asyncio.run(run())


def test_other_cursors_are_refused(place: Path) -> None:
    async def run() -> None:
        async with _audit(place) as audit:
            for cursor in ("", "x", "AAAAAAAA", present.cursor("no id")):
                with pytest.raises(present.CursorError):
                    await audit.page(ALL, 5, cursor)

    asyncio.run(run())


def test_an_events_id_is_a_uuid() -> None:
    """What cursors through events and calls are made of."""
    for number in (0, 1, 2**127, 2**128 - 1):
        assert ids.uuid_of("event", ids.named("event", UUID(int=number))) == UUID(int=number)
    assert ids.named("event", UUID(int=5)) < ids.named("event", UUID(int=2**100))
    with pytest.raises(ValueError, match="no id of a event"):
        ids.uuid_of("event", ids.new("key"))
