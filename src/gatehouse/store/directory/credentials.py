"""Providers' secrets of one tenant.

Rules: secrets come and stay sealed, and only `sealed` gives one out. A name is taken once, in any case, until its
credential is deleted: then the secret is gone as well. One that a project is bound to stays.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import CredentialChange, CredentialFilter, Event, NewCredential
from gatehouse.store.directory.errors import InUse
from gatehouse.store.directory.limits import drop_limits
from gatehouse.store.directory.schema import bindings, credentials, projects
from gatehouse.store.directory.scoped import Scoped, changed, folded, paged, viewed
from gatehouse.store.directory.views import Credential, Page

_MOST_NAMED: Final = 10
"""Projects that an error lists."""
_UNKNOWN: Final = {"health": "unknown", "health_reason": None, "health_at": None}


class Credentials(Scoped):
    """Providers' secrets."""

    async def create_credential(self, new: NewCredential, event: Event) -> Credential:
        """Raises `Taken`, `NotThere`."""
        ids.require("credential", new.id)
        async with self._changing(event) as connection:
            await self._name_is_free(connection, credentials, new.name, "credential")
            if new.exclusive is not None:
                await self._row(connection, projects, new.exclusive, "project")
            more = {"name_key": folded(new.name), "rotated_at": event.at, "created_at": event.at, "disabled": False}
            await self._put(connection, credentials, new, **more, **_UNKNOWN)
            return await self._credential(connection, new.id)

    async def credential(self, name: str) -> Credential:
        """Raises `NotThere`."""
        async with self._opened() as connection:
            return await self._credential(connection, name)

    async def credentials(self, wanted: CredentialFilter, limit: int, cursor: str | None = None) -> Page[Credential]:
        """Newest first. Raises `CursorError`."""
        conditions: list[ColumnElement[bool]] = [credentials.c.deleted_at.is_(None)]
        if wanted.name is not None:
            conditions.append(credentials.c.name_key == folded(wanted.name))
        if wanted.provider is not None:
            conditions.append(credentials.c.provider == wanted.provider)
        return paged(Credential, await self._page(credentials, conditions, limit, cursor))

    async def update_credential(self, name: str, change: CredentialChange, event: Event) -> Credential:
        """Raises `NotThere`, `Taken`."""
        async with self._changing(event) as connection:
            before = await self._row(connection, credentials, name, "credential")
            values = changed(change, "retiring")
            values |= await self._renamed(connection, credentials, before, change.name, "credential")
            if change.exclusive is not UNSET and change.exclusive is not None:
                await self._row(connection, projects, change.exclusive, "project")
            if change.retiring is not UNSET:
                values["retiring_at"] = (before.retiring_at or event.at) if change.retiring else None
            await self._change(connection, credentials, name, **values)
            return await self._credential(connection, name)

    async def delete_credential(self, name: str, event: Event) -> None:
        """The secret is gone, the id stays. Raises `NotThere`, `InUse`."""
        async with self._changing(event) as connection:
            row = await self._row(connection, credentials, name, "credential")
            users = await self._users(connection, name)
            if users:
                raise InUse(
                    f"credential {row.name} cannot be deleted: a project is bound to it ({', '.join(users)}); take it "
                    "from each by `gatehouse project disable-provider`"
                )
            await drop_limits(connection, self._tenant, "credential", name, event.at)
            gone: dict[str, Any] = {"sealed": b"", "token": None, "rotate_key": None, "last4": "", "settings": {}}
            await self._change(connection, credentials, name, name_key=None, deleted_at=event.at, **gone)

    async def _users(self, connection: AsyncConnection, name: str) -> list[str]:
        """Names of projects that a credential is bound to, some of them where they are many."""
        bound = select(bindings.c.project).where(bindings.c.tenant == self._tenant, bindings.c.credential == name)
        wanted = select(projects.c.name).where(projects.c.tenant == self._tenant, projects.c.id.in_(bound))
        return list(await connection.scalars(wanted.order_by(projects.c.name).limit(_MOST_NAMED)))

    async def put_secret(self, name: str, sealed: bytes, last4: str, event: Event) -> Credential:
        """Another secret takes over. A token made from the one before serves until the next is there, which is due at
        once. Raises `NotThere`."""
        async with self._changing(event) as connection:
            before = await self._row(connection, credentials, name, "credential")
            due = None if before.token is None else event.at
            secret = {"sealed": sealed, "last4": last4, "rotated_at": event.at, "reminded_at": None}
            secret["token_expires_at"] = due
            await self._change(connection, credentials, name, **secret, **_UNKNOWN)
            return await self._credential(connection, name)

    async def put_token(self, name: str, sealed: bytes, expires_at: int) -> None:
        """What was fetched with the secret. No event: nobody did that. Raises `NotThere`."""
        async with self._changing(None) as connection:
            await self._row(connection, credentials, name, "credential")
            await self._change(connection, credentials, name, token=sealed, token_expires_at=expires_at)

    async def put_health(self, name: str, healthy: bool, reason: str | None) -> bool:
        """What the provider says of it, and why; whether that is new. Raises `NotThere`."""
        async with self._changing(None, published=False) as connection:
            before = await self._row(connection, credentials, name, "credential")
            found = {"health": "healthy" if healthy else "unhealthy", "health_reason": reason}
            if before.health == found["health"]:
                return False
            await self._change(connection, credentials, name, health_at=times.now(), **found)
            return True

    async def put_reminded(self, name: str) -> None:
        """An event reminded of the old secret. Raises `NotThere`."""
        async with self._changing(None, published=False) as connection:
            await self._row(connection, credentials, name, "credential")
            await self._change(connection, credentials, name, reminded_at=times.now())

    async def sealed(self, name: str) -> bytes:
        """The secret, sealed. Raises `NotThere`."""
        async with self._opened() as connection:
            found: bytes = (await self._row(connection, credentials, name, "credential")).sealed
            return found

    async def _credential(self, connection: AsyncConnection, name: str) -> Credential:
        return viewed(Credential, await self._row(connection, credentials, name, "credential"))
