"""One tenant's directory: everything its people administer. There is no method that takes a tenant (I6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.store.directory.changes import Event, NewWebhook, TenantChange
from gatehouse.store.directory.credentials import Credentials
from gatehouse.store.directory.entrances import Entrances
from gatehouse.store.directory.errors import NotThere
from gatehouse.store.directory.issuers import Issuers
from gatehouse.store.directory.keys import Keys
from gatehouse.store.directory.limits import Limits
from gatehouse.store.directory.people import People
from gatehouse.store.directory.projects import Projects
from gatehouse.store.directory.schema import keys, projects, tenants, users, webhooks
from gatehouse.store.directory.scoped import changed, folded, viewed
from gatehouse.store.directory.views import Tenant, Webhook

_AT_ONCE: Final = 1_000
"""Ids in one statement."""


class Directory(People, Projects, Credentials, Keys, Limits, Issuers, Entrances):
    """Everything of one tenant. Every method raises `StoreError`; `StoreRowError` for a value no database takes."""

    @asynccontextmanager
    async def together(self) -> AsyncIterator[Directory]:
        """A directory whose changes are one transaction: made when the block ends, none of them where it raises."""
        async with self._opened() as connection:
            yield Directory(self._engine, self._tenant, connection)

    async def tenant(self) -> Tenant:
        """Raises `NotThere`."""
        async with self._opened() as connection:
            return tenant_view(await self._own(connection))

    async def names(self, wanted: Collection[str]) -> dict[str, str]:
        """What projects, keys and users with these ids are called, or were; by id."""
        found: dict[str, str] = {}
        ids = sorted(wanted)
        async with self._opened() as connection:
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                for table, name in ((projects, projects.c.name), (keys, keys.c.name), (users, users.c.email)):
                    asked = select(table.c.id, name).where(table.c.tenant == self._tenant, table.c.id.in_(some))
                    found.update((id_, called) for id_, called in await connection.execute(asked) if called)
        return found

    async def update_tenant(self, change: TenantChange, event: Event) -> Tenant:
        """Raises `NotThere`, `Taken`."""
        async with self._changing(event) as connection:
            values = changed(change)
            if change.name is not UNSET:
                values["name_key"] = folded(change.name)
            if values:
                await connection.execute(update(tenants).where(tenants.c.tenant == self._tenant).values(**values))
            return tenant_view(await self._own(connection))

    async def webhook(self) -> Webhook | None:
        """Where events are posted to."""
        async with self._opened() as connection:
            found = (await connection.execute(self._select(webhooks))).one_or_none()
            return None if found is None else viewed(Webhook, found)

    async def put_webhook(self, new: NewWebhook, event: Event) -> Webhook:
        """In the place of the one there was."""
        async with self._changing(event, published=False) as connection:
            await connection.execute(delete(webhooks).where(webhooks.c.tenant == self._tenant))
            await self._put(connection, webhooks, new, created_at=event.at)
            return viewed(Webhook, (await connection.execute(self._select(webhooks))).one())

    async def put_posted(self, name: str) -> None:
        """The event with this id was posted; those before it too. Raises `NotThere`."""
        async with self._changing(None, published=False) as connection:
            statement = update(webhooks).where(webhooks.c.tenant == self._tenant).values(posted=name)
            if not (await connection.execute(statement)).rowcount:
                raise NotThere("there is no webhook")

    async def delete_webhook(self, event: Event) -> None:
        """Raises `NotThere`."""
        async with self._changing(event, published=False) as connection:
            gone = await connection.execute(delete(webhooks).where(webhooks.c.tenant == self._tenant))
            if not gone.rowcount:
                raise NotThere("there is no webhook")

    async def record(self, event: Event) -> None:
        """Something happened that changes nothing here: a log-in that failed, say."""
        async with self._changing(event, published=False):
            pass

    async def _own(self, connection: AsyncConnection) -> Row[Any]:
        found: Row[Any] | None = (await connection.execute(self._select(tenants))).one_or_none()
        if found is None:
            raise NotThere(f"there is no tenant {self._tenant}")
        return found


def tenant_view(row: Row[Any]) -> Tenant:
    """A row of `dir_tenants`."""
    return viewed(Tenant, row, id=row.tenant)
