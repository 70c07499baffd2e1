"""Gateway keys of one tenant.

Rules: a key is known by its digest alone, which is unique over all tenants. A revoked key stays as a row and never
comes back. Rotation makes a successor that takes over everything, what its limits count by included (`counts_as`), and
lets the old one be taken until a given time.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import ColumnElement, Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import Event, KeyChange, KeyFilter, NewKey, Successor
from gatehouse.store.directory.errors import NotThere, Taken
from gatehouse.store.directory.limits import drop_limits
from gatehouse.store.directory.schema import keys, projects, users
from gatehouse.store.directory.scoped import Scoped, changed, paged, viewed
from gatehouse.store.directory.views import Key, Page

_INHERITED: Final = (
    *("name", "owner", "user_id", "project", "environment", "scopes", "models", "providers", "addresses", "role"),
    *("expires_at", "disabled_at", "counts_as"),
)


class Keys(Scoped):
    """Gateway keys."""

    async def create_key(self, new: NewKey, event: Event) -> Key:
        """Raises `NotThere` for its project or user, `Taken` for its digest."""
        ids.require("key", new.id)
        async with self._changing(event) as connection:
            await self._row(connection, projects, new.project, "project")
            if new.user is not None:
                await self._present_user(connection, new.user)
            await self._put(connection, keys, new, created_at=event.at, counts_as=new.id)
            return viewed(Key, await self._row(connection, keys, new.id, "key"))

    async def key(self, name: str) -> Key:
        """Revoked ones too. Raises `NotThere`."""
        async with self._opened() as connection:
            return viewed(Key, await self._row(connection, keys, name, "key"))

    async def keys(self, wanted: KeyFilter, limit: int, cursor: str | None = None, *, offset: int = 0) -> Page[Key]:
        """Newest first. `offset`: for clients that page by number (`control.keycompat`). Raises `CursorError`."""
        given = {"project": wanted.project, "user_id": wanted.user, "name": wanted.name, "last4": wanted.last4}
        conditions: list[ColumnElement[bool]] = [
            keys.c[name] == value for name, value in given.items() if value is not None
        ]
        if wanted.ids is not None:
            conditions.append(keys.c.id.in_(wanted.ids))
        if wanted.revoked is not None:
            conditions.append(keys.c.revoked_at.is_not(None) if wanted.revoked else keys.c.revoked_at.is_(None))
        return paged(Key, await self._page(keys, conditions, limit, cursor, offset))

    async def update_key(self, name: str, change: KeyChange, event: Event) -> Key:
        """Raises `NotThere`, also where it was revoked."""
        async with self._changing(event) as connection:
            before = await self._valid(connection, name)
            values = changed(change, "disabled")
            if change.user is not UNSET and change.user is not None:
                await self._present_user(connection, change.user)
            if change.disabled is not UNSET:
                values["disabled_at"] = (before.disabled_at or event.at) if change.disabled else None
            await self._change(connection, keys, name, **values)
            return viewed(Key, await self._row(connection, keys, name, "key"))

    async def revoke_key(self, name: str, event: Event) -> None:
        """For good. Raises `NotThere`, also where it was revoked before."""
        async with self._changing(event) as connection:
            before = await self._valid(connection, name)
            await self._change(connection, keys, name, revoked_at=event.at)
            left = (keys.c.counts_as == before.counts_as, keys.c.revoked_at.is_(None))
            if await self._free(connection, keys, *left):
                await drop_limits(connection, self._tenant, "key", before.counts_as, event.at)

    async def rotate_key(self, name: str, new: Successor, retires_at: int, event: Event) -> Key:
        """The key's successor; the key itself is taken until `retires_at`. Raises `NotThere`; `Taken` where it has a
        successor already."""
        ids.require("key", new.id)
        async with self._changing(event) as connection:
            before = await self._valid(connection, name)
            if before.succeeded_by is not None:
                raise Taken(f"key {name} was rotated to {before.succeeded_by} already")
            inherited = {column: getattr(before, column) for column in _INHERITED}
            await self._put(connection, keys, new, created_at=event.at, **inherited)
            await self._change(connection, keys, name, succeeded_by=new.id, retires_at=retires_at)
            return viewed(Key, await self._row(connection, keys, new.id, "key"))

    async def _valid(self, connection: AsyncConnection, name: str) -> Row[Any]:
        found = await self._row(connection, keys, name, "key")
        if found.revoked_at is not None:
            raise NotThere(f"key {name} was revoked")
        return found

    async def _present_user(self, connection: AsyncConnection, name: str) -> None:
        if (await self._row(connection, users, name, "user")).erased_at is not None:
            raise NotThere(f"user {name} was erased")
