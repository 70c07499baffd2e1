"""Limits of one tenant.

Rules: what a limit is on must be there; models, and users whom identity tokens alone name, need not. A key's limits
belong to all of its rotations: they stand under the id of the first (`counts_as`). A limit that is deleted is marked,
and its id never comes again.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Table, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.model.limits import ScopeKind
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import Event, LimitChange, LimitFilter, NewLimit
from gatehouse.store.directory.errors import NotThere
from gatehouse.store.directory.schema import credentials, keys, limits, projects, users
from gatehouse.store.directory.scoped import Scoped, changed, paged, viewed
from gatehouse.store.directory.views import Limit, Page

_LIMITED: Final[dict[ScopeKind, Table]] = {"project": projects, "user": users, "key": keys, "credential": credentials}


class Limits(Scoped):
    """Limits."""

    async def create_limit(self, new: NewLimit, event: Event) -> Limit:
        """Raises `NotThere` for what it is to be on."""
        ids.require("limit", new.id)
        async with self._changing(event) as connection:
            scope_id = await self._limited(connection, new.scope, new.scope_id)
            await self._put(connection, limits, new, scope_id=scope_id, created_at=event.at)
            return viewed(Limit, await self._row(connection, limits, new.id, "limit"))

    async def limit(self, name: str) -> Limit:
        """Raises `NotThere`."""
        async with self._opened() as connection:
            return viewed(Limit, await self._row(connection, limits, name, "limit"))

    async def limits(self, wanted: LimitFilter, limit: int, cursor: str | None = None) -> Page[Limit]:
        """Newest first. Raises `CursorError`."""
        scope_id = wanted.scope_id
        if wanted.scope == "key" and scope_id is not None:
            scope_id = await self._counts_as(scope_id)
        given = {"scope": wanted.scope, "scope_id": scope_id, "measure": wanted.measure, "window": wanted.window}
        conditions: list[ColumnElement[bool]] = [limits.c.deleted_at.is_(None)]
        conditions += [limits.c[name] == value for name, value in given.items() if value is not None]
        if wanted.scope_ids is not None:
            conditions.append(limits.c.scope_id.in_(wanted.scope_ids))
        return paged(Limit, await self._page(limits, conditions, limit, cursor))

    async def update_limit(self, name: str, change: LimitChange, event: Event) -> Limit:
        """Raises `NotThere`."""
        async with self._changing(event) as connection:
            await self._row(connection, limits, name, "limit")
            await self._change(connection, limits, name, **changed(change))
            return viewed(Limit, await self._row(connection, limits, name, "limit"))

    async def delete_limit(self, name: str, event: Event) -> None:
        """What was counted stays counted. Raises `NotThere`."""
        async with self._changing(event) as connection:
            await self._row(connection, limits, name, "limit")
            await self._change(connection, limits, name, deleted_at=event.at)

    async def _limited(self, connection: AsyncConnection, scope: ScopeKind, name: str) -> str:
        """What counters go by. Raises `NotThere`."""
        if scope == "tenant" and name != self._tenant:
            raise NotThere(f"there is no tenant {name}")
        table = _LIMITED.get(scope)
        if table is None or (scope == "user" and not ids.is_id("user", name)):
            return name
        found = await self._row(connection, table, name, scope)
        return str(found.counts_as) if scope == "key" else name

    async def _counts_as(self, key: str) -> str:
        async with self._opened() as connection:
            found = (await connection.execute(self._select(keys).where(keys.c.id == key))).one_or_none()
            return key if found is None else str(found.counts_as)


async def drop_limits(connection: AsyncConnection, tenant: str, scope: ScopeKind, name: str, at: int) -> None:
    """What they were on is gone."""
    where = (limits.c.tenant == tenant, limits.c.scope == scope, limits.c.scope_id == name)
    await connection.execute(update(limits).where(*where, limits.c.deleted_at.is_(None)).values(deleted_at=at))
