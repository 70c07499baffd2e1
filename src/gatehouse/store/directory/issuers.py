"""Whose JWTs one tenant takes as a caller's identity.

Rules: an issuer and an audience together are one tenant's: the tenant of a token follows from them alone. The
keys are what the control plane fetched last.
"""

from __future__ import annotations

from msgspec import UNSET
from sqlalchemy import delete

from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import Event, IssuerChange, NewIssuer
from gatehouse.store.directory.errors import Taken
from gatehouse.store.directory.schema import issuers, projects
from gatehouse.store.directory.scoped import Scoped, changed, paged, viewed
from gatehouse.store.directory.views import Issuer, Page


class Issuers(Scoped):
    """Issuers of identity tokens."""

    async def create_issuer(self, new: NewIssuer, event: Event) -> Issuer:
        """Raises `NotThere`, `Taken`."""
        ids.require("issuer", new.id)
        async with self._changing(event) as connection:
            if new.project is not None:
                await self._row(connection, projects, new.project, "project")
            same = (issuers.c.issuer == new.issuer, issuers.c.audience == new.audience)
            if not await self._free(connection, issuers, *same):
                raise Taken(f"issuer {new.issuer} with the audience {new.audience} is there already")
            await self._put(connection, issuers, new, created_at=event.at, disabled=False)
            return viewed(Issuer, await self._row(connection, issuers, new.id, "issuer"))

    async def issuer(self, name: str) -> Issuer:
        """Raises `NotThere`."""
        async with self._opened() as connection:
            return viewed(Issuer, await self._row(connection, issuers, name, "issuer"))

    async def issuers(self, limit: int, cursor: str | None = None) -> Page[Issuer]:
        """Newest first. Raises `CursorError`."""
        return paged(Issuer, await self._page(issuers, (), limit, cursor))

    async def update_issuer(self, name: str, change: IssuerChange, event: Event) -> Issuer:
        """Raises `NotThere`."""
        async with self._changing(event) as connection:
            await self._row(connection, issuers, name, "issuer")
            if change.project is not UNSET and change.project is not None:
                await self._row(connection, projects, change.project, "project")
            await self._change(connection, issuers, name, **changed(change))
            return viewed(Issuer, await self._row(connection, issuers, name, "issuer"))

    async def delete_issuer(self, name: str, event: Event) -> None:
        """Raises `NotThere`."""
        async with self._changing(event) as connection:
            await self._row(connection, issuers, name, "issuer")
            await connection.execute(delete(issuers).where(issuers.c.tenant == self._tenant, issuers.c.id == name))

    async def put_jwks(self, name: str, jwks: bytes) -> None:
        """Its keys, JSON, as just fetched. No event: nobody did that. Raises `NotThere`."""
        async with self._opened() as connection:
            same = (await self._row(connection, issuers, name, "issuer")).jwks == jwks
        async with self._changing(None, published=not same) as connection:
            await self._row(connection, issuers, name, "issuer")
            await self._change(connection, issuers, name, jwks=jwks, keys_at=times.now())
