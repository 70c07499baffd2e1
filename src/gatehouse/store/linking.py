"""Which calls go on from which: agent loops, put together from the keys that calls carry. Used by `writing` alone.

A call offers keys (its conversation, its tool calls, its answer's id), and a call that goes on from it asks for one of
them (`docs/lineage.md`). Of several that offer what a call asks for, the one with the most keys in common is its
parent, of these the one with the rarest, of these the newest. A caller's own `X-Gatehouse-Parent` that names a call
goes before all keys. A loop is called by its first call.

Rules: in the transaction that writes the calls, so that collecting twice links once. Calls come in any order: what a
call asks for in vain is kept, and found by the offer that comes late. Everything is asked for and found within one
tenant (I6), and within a day. Of a key that many calls share only the newest count: what a batch costs does not grow
with how often the same was asked before (I9).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Delete, Update, bindparam, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.polite import politely
from gatehouse.store import ids, times
from gatehouse.store.rows import Batch, LinkKey
from gatehouse.store.schema import link_keys, traces

WINDOW: Final = times.DAY
"""Microseconds after which a call is not gone on from any more."""
KEPT_DAYS: Final = 2
"""Keys of older days are of no use."""

NEWEST: Final = 32
"""Calls of a day that offer the same key, or wait for it, of which is known."""

_AT_ONCE: Final = 250
"""Keys or calls named in one SELECT."""

Write = Callable[[AsyncConnection, Iterable[tuple[Any, ...]]], Awaitable[None]]
"""Runs a prepared statement for rows."""

LINKED: Final = ("tenant", "call", "loop", "parent_call")
"""Fields of a row for `link_statement`."""


def link_statement(prefix: str) -> Update:
    """The UPDATE that says of a call where it belongs, with parameters named after `LINKED`."""
    return (
        update(traces)
        .values({name: bindparam(prefix + name, type_=traces.c[name].type) for name in ("loop", "parent_call")})
        .where(traces.c.tenant == bindparam(prefix + "tenant"), traces.c.call == bindparam(prefix + "call"))
    )


class _Tenant:
    """What one tenant's calls of a batch ask for and offer."""

    def __init__(self, tenant: str) -> None:
        self.name = tenant
        self.asked: defaultdict[str, dict[str, LinkKey]] = defaultdict(dict)
        """By call and key."""
        self.keys: set[str] = set()
        self.days: set[int] = set()
        self.named: dict[str, str] = {}
        """The parent that a caller named, by call."""
        self.late: set[str] = set()
        """Calls that were in the store before this batch."""
        self.offers: defaultdict[str, set[str]] = defaultdict(set)
        """Calls by key."""
        self.fresh: list[LinkKey] = []
        """Offers of this batch."""
        self.stored: defaultdict[tuple[int, str, bool], list[LinkKey]] = defaultdict(list)
        """What the store knows of the keys."""
        self._ordered: dict[str, list[str]] = {}

    def add(self, link: LinkKey) -> None:
        self.keys.add(link.key)
        self.days.update((link.day - 1, link.day, link.day + 1))
        if link.offered:
            self.offers[link.key].add(link.call)
            self.fresh.append(link)
        else:
            self.asked[link.call][link.key] = link

    def parent(self, call: str) -> str | None:
        """The call that offers most of what this one asks for, of several the one with the rarest key, the newest."""
        began = ids.started(call)
        if began is None:
            return None
        earliest = ids.first_call(began - WINDOW)
        found: Counter[str] = Counter()
        rarest: dict[str, int] = {}
        for key in self.asked[call]:
            offering = self._offering(key, earliest, call)
            for other in offering:
                found[other] += 1
                rarest[other] = min(rarest.get(other, NEWEST), len(offering))
        return max(found, key=lambda other: (found[other], -rarest[other], other)) if found else None

    def _offering(self, key: str, earliest: str, call: str) -> list[str]:
        """The newest calls before this one that offer a key."""
        ordered = self._ordered.get(key)
        if ordered is None:
            ordered = self._ordered[key] = sorted(self.offers.get(key, ()))
        end = bisect_left(ordered, call)
        return ordered[max(bisect_left(ordered, earliest), end - NEWEST) : end]


class Linker:
    """Links what a writer writes."""

    def __init__(self, keep: Write, link: Write) -> None:
        """`keep`: inserts rows of `link_keys`, leaving alone what is there; `link`: runs `link_statement`."""
        self._keep = keep
        self._link = link

    async def link(self, connection: AsyncConnection, batch: Batch) -> None:
        """Link the calls of a batch, and those that waited for what it offers. Their rows must be there."""
        tenants: dict[str, _Tenant] = {}
        for link in politely(batch.links):
            tenants.setdefault(link.tenant, _Tenant(link.tenant)).add(link)
        for row in politely(batch.decided):
            if row.parent_id is not None and row.parent_id < row.call and ids.started(row.parent_id) is not None:
                tenants.setdefault(row.tenant, _Tenant(row.tenant)).named[row.call] = row.parent_id
        if not tenants:
            return
        fresh = {(row.tenant, row.call) for row in batch.decided}
        for tenant in tenants.values():
            await self._find(connection, tenant, fresh)
            vain = await self._settle(connection, tenant)
            await self._remember(connection, tenant, [*vain, *tenant.fresh])

    async def _find(self, connection: AsyncConnection, tenant: _Tenant, fresh: set[tuple[str, str]]) -> None:
        """What the store knows of the keys: nearly always nothing of those that are offered."""
        statement = select(*(link_keys.c[name] for name in LinkKey.__struct_fields__)).where(
            link_keys.c.tenant == tenant.name,
            link_keys.c.day.in_(bindparam("days", expanding=True)),
            link_keys.c.key.in_(bindparam("keys", expanding=True)),
        )
        keys, days, offered = sorted(tenant.keys), sorted(tenant.days), set(tenant.offers)
        for at in range(0, len(keys), _AT_ONCE):
            found = await connection.execute(statement, {"days": days, "keys": keys[at : at + _AT_ONCE]})
            for row in politely(found):
                link = LinkKey(*row)
                tenant.stored[link.day, link.key, link.offered].append(link)
                if row.offered:
                    tenant.offers[row.key].add(row.call)
                elif row.key in offered:
                    tenant.asked[row.call][row.key] = link
                    if (tenant.name, row.call) not in fresh:
                        tenant.late.add(row.call)

    async def _settle(self, connection: AsyncConnection, tenant: _Tenant) -> list[LinkKey]:
        """Write down whose parent is known now. Returns what is asked for in vain."""
        parents = {call: found for call in tenant.asked if (found := tenant.parent(call)) is not None}
        known = await self._places(connection, tenant.name, {*parents.values(), *tenant.late, *tenant.named.values()})
        parents |= {call: named for call, named in tenant.named.items() if named in known}
        parents = {call: found for call, found in parents.items() if known.get(call, _NOWHERE)[1] is None}
        loops: dict[str, str] = {}
        for call in sorted(parents):
            parent = parents[call]
            loops[call] = loops.get(parent) or known.get(parent, _NOWHERE)[0] or parent
        await self._link(connection, ((tenant.name, call, loops[call], parents[call]) for call in sorted(parents)))
        vain = [key for call, keys in tenant.asked.items() if call not in parents for key in keys.values()]
        for call in tenant.late & parents.keys():
            # It was taken for the first call of its loop.
            moved = update(traces).where(traces.c.tenant == tenant.name, traces.c.loop == call)
            await connection.execute(moved.values(loop=loops[call]))
        return vain

    async def _remember(self, connection: AsyncConnection, tenant: _Tenant, links: list[LinkKey]) -> None:
        """Keep these for later batches, and of each key no more than the newest."""
        groups: defaultdict[tuple[int, str, bool], set[LinkKey]] = defaultdict(set)
        for link in politely(links):
            groups[link.day, link.key, link.offered].add(link)
        kept: list[LinkKey] = []
        gone: list[LinkKey] = []
        for place, new in groups.items():
            old = tenant.stored.get(place, [])
            if len(old) + len(new) <= NEWEST:
                kept += new
                continue
            newest = set(sorted({*old, *new}, key=lambda link: link.call)[-NEWEST:])
            kept += new & newest
            gone += [link for link in old if link not in newest]
        if gone:
            await connection.execute(_FORGET, [msgspec.structs.asdict(link) for link in gone])
        await self._keep(connection, map(msgspec.structs.astuple, kept))

    async def _places(
        self, connection: AsyncConnection, tenant: str, calls: set[str]
    ) -> dict[str, tuple[str | None, str | None]]:
        """Loop and parent of calls that are in the store."""
        found: dict[str, tuple[str | None, str | None]] = {}
        statement = select(traces.c.call, traces.c.loop, traces.c.parent_call).where(
            traces.c.tenant == tenant, traces.c.call.in_(bindparam("calls", expanding=True))
        )
        wanted = sorted(calls)
        for at in range(0, len(wanted), _AT_ONCE):
            rows = await connection.execute(statement, {"calls": wanted[at : at + _AT_ONCE]})
            found |= {row.call: (row.loop, row.parent_call) for row in rows}
        return found


_NOWHERE: Final = (None, None)
_FORGET: Final = Delete(link_keys).where(*(link_keys.c[name] == bindparam(name) for name in LinkKey.__struct_fields__))


async def forget_keys(connection: AsyncConnection, tenant: str, before_day: int, limit: int) -> int:
    """Delete up to `limit` keys of days before `before_day`. Returns how many."""
    columns = [link_keys.c[name] for name in LinkKey.__struct_fields__]
    old = select(*columns).where(link_keys.c.tenant == tenant, link_keys.c.day < before_day).limit(limit)
    deleted = await connection.execute(Delete(link_keys).where(tuple_(*columns).in_(old)))
    return deleted.rowcount
