"""How rows get into the store. Used by the collector alone.

Rules: one transaction per batch, and the lanes' marks stand in it, so that a batch is written as a whole or not at all
and collecting a line twice changes nothing. A call's two halves arrive in either order. Statements are compiled once
and given tuples: this is the throughput of the whole record. Rows carry their tenant; nothing reads across calls.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Delete, Insert, Update, bindparam, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.polite import PoliteRows, politely
from gatehouse.store import ids, linking, spans, times
from gatehouse.store.engine import insert_new, insert_or_add, insert_or_update, transaction, used_bytes
from gatehouse.store.ledger import forget as forget_periods
from gatehouse.store.rolling import Roller
from gatehouse.store.rows import (
    IDENTITY,
    SHARED,
    TRACE_COLUMNS,
    AuditRow,
    Batch,
    BodyPart,
    Concluded,
    Decided,
    LedgerRow,
    LinkKey,
    Mark,
    RefusedCount,
    SpanRow,
)
from gatehouse.store.schema import audit, bodies, lanes, ledger, link_keys, refusals, traces
from gatehouse.store.schema import spans as span_table
from gatehouse.store.stretches import tenant_after

_OPEN: Final = "open"
_STILL_OPEN: Final = traces.c.outcome == literal_column(f"'{_OPEN}'")
_UNDECIDED: Final = traces.c.decision_lane.is_(None)
_RECENT: Final = 20_000
"""Open calls whose decision is kept in memory: about 1 KB each."""
_MILLISECOND: Final = 1_000
_AT_ONCE: Final = 500
"""Calls named in one SELECT."""
_PREFIX: Final = "v_"

Half = TypeVar("Half", Decided, Concluded)
Key = tuple[str, str]
"""Tenant and call."""


class _Prepared:
    """A statement in the driver's own words, and the order in which it takes the fields of a row."""

    def __init__(self, engine: AsyncEngine, statement: Insert | Update, fields: Sequence[str]) -> None:
        # An UPDATE names its columns itself; told of keys it would set those too, and touch the index.
        keys = list(fields) if isinstance(statement, Insert) else None
        compiled = statement.compile(dialect=engine.dialect, column_keys=keys, for_executemany=True)
        names = [name.removeprefix(_PREFIX) for name in compiled.positiontup or ()]
        self._sql = str(compiled)
        self._pick = None if names == list(fields) else itemgetter(*(fields.index(name) for name in names))

    async def run(self, connection: AsyncConnection, rows: Iterable[tuple[Any, ...]]) -> None:
        given = PoliteRows(politely(rows if self._pick is None else map(self._pick, rows)))
        if given:
            await connection.exec_driver_sql(self._sql, given)


class StoreWriter:
    """Writes batches over a writer's engine. The tables must be there (`version.ensure`)."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.roller = Roller(engine)
        self._recent: dict[Key, Decided] = {}
        """Decisions of calls that are open in the store: spares looking them up there when they end."""
        decided, concluded = Decided.__struct_fields__, Concluded.__struct_fields__
        self._open = _Prepared(engine, insert_new(engine, traces), (*decided, "outcome"))
        self._whole = _Prepared(engine, insert_new(engine, traces), TRACE_COLUMNS)
        self._conclude = _Prepared(engine, _fill(concluded, keep_old=False).where(_STILL_OPEN), concluded)
        self._early = _Prepared(engine, insert_new(engine, traces), (*concluded, "trace_id", "started"))
        self._late = _Prepared(engine, _fill(decided, keep_old=True).where(_UNDECIDED), decided)
        self._spans = _Prepared(engine, insert_new(engine, span_table), SpanRow.__struct_fields__)
        self._bodies = _Prepared(engine, insert_new(engine, bodies), BodyPart.__struct_fields__)
        self._refusals = _Prepared(engine, insert_new(engine, refusals), RefusedCount.__struct_fields__)
        self._audit = _Prepared(engine, insert_new(engine, audit), AuditRow.__struct_fields__)
        counted = insert_or_add(engine, ledger, ("tenant", "counter", "period"))
        self._ledger = _Prepared(engine, counted, LedgerRow.__struct_fields__)
        linked = _Prepared(engine, linking.link_statement(_PREFIX), linking.LINKED)
        kept = _Prepared(engine, insert_new(engine, link_keys), LinkKey.__struct_fields__)
        self._linker = linking.Linker(kept.run, linked.run)
        self._marks = _Prepared(engine, insert_or_update(engine, lanes, ("lane",)), Mark.__struct_fields__)

    async def marks(self) -> dict[str, Mark]:
        """How far each lane is collected. Raises `StoreError`."""
        async with transaction(self._engine) as connection:
            found = await connection.execute(select(*(lanes.c[name] for name in Mark.__struct_fields__)))
            return {row.lane: Mark(*row) for row in found}

    async def apply(self, batch: Batch) -> list[tuple[Decided, Concluded]]:
        """Write a batch and its marks. Returns the calls that became whole by it.

        Raises `StoreError`, having written nothing; `StoreRowError` if a row is bad.
        """
        decided = {(row.tenant, row.call): row for row in batch.decided}
        concluded = {(row.tenant, row.call): row for row in batch.concluded}
        recent, self._recent = self._recent, {}
        async with transaction(self._engine) as connection:
            pairs = await self._calls(connection, decided, concluded, recent)
            await self._spans.run(
                connection, (msgspec.structs.astuple(span) for pair in pairs for span in spans.build(*pair))
            )
            await self._linker.link(connection, batch)
            await self._bodies.run(connection, map(msgspec.structs.astuple, batch.bodies))
            await self._refusals.run(connection, map(msgspec.structs.astuple, batch.refused))
            await self._audit.run(connection, map(msgspec.structs.astuple, batch.audit))
            await self._ledger.run(connection, map(msgspec.structs.astuple, batch.ledger))
            await self._marks.run(connection, map(msgspec.structs.astuple, batch.marks))
            await self.roller.unroll(connection, itertools.chain(batch.decided, batch.concluded), times.now())
        # Only now: what was not committed is not in the store, and what is not known to be is looked up.
        for key in concluded:
            recent.pop(key, None)
        recent |= {key: row for key, row in decided.items() if key not in concluded}
        for key in list(itertools.islice(recent, max(0, len(recent) - _RECENT))):
            del recent[key]
        self._recent = recent
        return pairs

    async def forget(self, before: int, limit: int) -> int:
        """Delete up to `limit` of the oldest calls, with spans and bodies, where they began before `before`
        (microseconds since the epoch), and what limits no longer count by. Returns how many; 0 when none is left.
        Raises `StoreError`."""
        deleted = 0
        async with transaction(self._engine) as connection:
            tenant = await tenant_after(connection, "", traces)
            while tenant is not None and deleted < limit:
                old = select(traces.c.id, traces.c.call).where(
                    traces.c.tenant == tenant, traces.c.call < ids.first_call(before)
                )
                found = (await connection.execute(old.order_by(traces.c.call).limit(limit - deleted))).all()
                if found:
                    await self._delete(connection, tenant, [row.call for row in found], [row.id for row in found])
                deleted += len(found)
                if deleted < limit:
                    deleted += await linking.forget_keys(
                        connection, tenant, times.now() // times.DAY - linking.KEPT_DAYS, limit - deleted
                    )
                tenant = await tenant_after(connection, tenant, traces)
            await connection.execute(Delete(refusals).where(refusals.c.until < before))
            await forget_periods(connection, times.now())
        return deleted

    async def forget_oldest(self, limit: int) -> int:
        """Delete about `limit` of the oldest calls, whenever they began, as `forget` does. Returns how many."""
        edges: list[int] = []
        async with transaction(self._engine) as connection:
            tenant = await tenant_after(connection, "", traces)
            while tenant is not None:
                calls = select(traces.c.started).where(traces.c.tenant == tenant).order_by(traces.c.call)
                first = (await connection.execute(calls.limit(limit))).scalars().all()
                edges.append(first[-1])
                tenant = await tenant_after(connection, tenant, traces)
        # Everything before the moment at which one tenant alone has that many.
        return await self.forget(min(edges) + _MILLISECOND, limit) if edges else 0

    async def used_bytes(self) -> int:
        """What calls take in the database, about. Raises `StoreError`."""
        return await used_bytes(self._engine, (traces, span_table, bodies, refusals))

    async def _calls(
        self,
        connection: AsyncConnection,
        decided: dict[Key, Decided],
        concluded: dict[Key, Concluded],
        recent: dict[Key, Decided],
    ) -> list[tuple[Decided, Concluded]]:
        """Write both halves of calls; returns those that became whole."""
        early = await self._undecided(connection, decided)
        pairs = [(decided[key], row) for key, row in early.items()]
        await self._late.run(connection, (msgspec.structs.astuple(decided[key]) for key in early))

        whole = [(row, concluded[key]) for key, row in decided.items() if key in concluded and key not in early]
        await self._whole.run(connection, (_merged(*pair) for pair in whole))

        opened = (row for key, row in decided.items() if key not in concluded and key not in early)
        await self._open.run(connection, ((*msgspec.structs.astuple(row), _OPEN) for row in opened))

        ended = {key: row for key, row in concluded.items() if key not in decided}
        known = {key: recent[key] for key in ended if key in recent}
        known |= await self._halves(connection, Decided, ended.keys() - known.keys(), _STILL_OPEN)
        await self._conclude.run(connection, (msgspec.structs.astuple(ended[key]) for key in known))
        await self._early.run(connection, (_early(row) for key, row in ended.items() if key not in known))
        return [*pairs, *whole, *((row, ended[key]) for key, row in known.items())]

    async def _undecided(self, connection: AsyncConnection, decided: dict[Key, Decided]) -> dict[Key, Concluded]:
        """The conclusions that are there already for these decisions: nearly always none."""
        if not decided:
            return {}
        if (await connection.execute(select(traces.c.id).where(_UNDECIDED).limit(1))).first() is None:
            return {}
        return await self._halves(connection, Concluded, decided, _UNDECIDED)

    async def _halves(
        self, connection: AsyncConnection, half: type[Half], wanted: Iterable[Key], condition: Any
    ) -> dict[Key, Half]:
        """One half of each call that is there and fulfils the condition."""
        found: dict[Key, Half] = {}
        statement = select(*(traces.c[name] for name in half.__struct_fields__)).where(
            condition, traces.c.tenant == bindparam("owner"), traces.c.call.in_(bindparam("calls", expanding=True))
        )
        for tenant, calls in _by_tenant(wanted).items():
            for at in range(0, len(calls), _AT_ONCE):
                rows = await connection.execute(statement, {"owner": tenant, "calls": calls[at : at + _AT_ONCE]})
                found |= {(row.tenant, row.call): row for row in (half(*values) for values in rows)}
        return found

    async def _delete(self, connection: AsyncConnection, tenant: str, calls: list[str], rows: list[int]) -> None:
        for table in (span_table, bodies):
            await connection.execute(Delete(table).where(table.c.tenant == tenant, table.c.call.in_(calls)))
        await connection.execute(Delete(traces).where(traces.c.id.in_(rows)))


def _by_tenant(keys: Iterable[Key]) -> dict[str, list[str]]:
    calls: dict[str, list[str]] = defaultdict(list)
    for tenant, call in keys:
        calls[tenant].append(call)
    return calls


def _fill(names: Sequence[str], *, keep_old: bool) -> Update:
    """An UPDATE of one half of a call that is there. Of shared columns the conclusion's value stays, if it has one."""
    values: dict[str, Any] = {}
    for name in names:
        given = bindparam(_PREFIX + name, type_=traces.c[name].type)
        if name in SHARED:
            values[name] = func.coalesce(traces.c[name], given) if keep_old else func.coalesce(given, traces.c[name])
        elif name not in IDENTITY:
            values[name] = given
    return (
        update(traces)
        .values(values)
        .where(traces.c.tenant == bindparam(_PREFIX + "tenant"), traces.c.call == bindparam(_PREFIX + "call"))
    )


def _merged(decided: Decided, concluded: Concluded) -> tuple[Any, ...]:
    """A whole row, in the order of `TRACE_COLUMNS`. Shared columns stand last in both halves."""
    first, second = msgspec.structs.astuple(decided), msgspec.structs.astuple(concluded)
    split = -len(SHARED)
    shared = (old if new is None else new for old, new in zip(first[split:], second[split:], strict=True))
    return (*first[:split], *shared, *second[len(IDENTITY) : split])


def _early(row: Concluded) -> tuple[Any, ...]:
    began = ids.started(row.call)
    if began is None:
        began = row.concluded - (row.duration_us or 0)
    return (*msgspec.structs.astuple(row), ids.trace_id(row.call), began)
