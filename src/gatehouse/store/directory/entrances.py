"""How users of one tenant come in: sessions of browsers, and platform tokens.

Rules: a session is known by the digests of its token and the one before, a platform token by its `jti`. They open
nothing by themselves: who stands behind one, and whether that still holds, is asked anew each time (`operator`). What
a session's standing means is said in `auth.sessions`. The snapshot has none of it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.auth.sessions import Standing
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import Event, NewSession, NewToken, SessionFilter
from gatehouse.store.directory.errors import NotThere
from gatehouse.store.directory.schema import sessions, tokens, users
from gatehouse.store.directory.scoped import Scoped, paged, viewed
from gatehouse.store.directory.views import Page, PlatformToken, Session


async def shut_out(connection: AsyncConnection, tenant: str, user: str, at: int) -> int:
    """Whatever let a user in does so no more: sessions, which are counted, and platform tokens."""
    held = (tokens.c.tenant == tenant, tokens.c.user_id == user, tokens.c.revoked_at.is_(None))
    await connection.execute(update(tokens).where(*held).values(revoked_at=at))
    where = (sessions.c.tenant == tenant, sessions.c.user_id == user)
    return (await connection.execute(delete(sessions).where(*where))).rowcount


class Entrances(Scoped):
    """Sessions and platform tokens."""

    async def create_session(self, new: NewSession, event: Event) -> Session:
        """Raises `NotThere` for a user who may not log in."""
        ids.require("session", new.id)
        async with self._changing(event, published=False) as connection:
            await self._enabled(connection, new.user)
            row = {"tenant": self._tenant, "id": new.id, "user_id": new.user, **_columns(new.standing)}
            await connection.execute(sessions.insert().values(**row))
            return viewed(Session, await self._row(connection, sessions, new.id, "session"))

    async def rotate_session(self, name: str, before: Standing, after: Standing) -> bool:
        """The session goes on with its next token. False, and nothing done: another request was faster, or there is no
        such session."""
        async with self._changing(None, published=False) as connection:
            where = (sessions.c.tenant == self._tenant, sessions.c.id == name, sessions.c.digest == before.digest)
            return (await connection.execute(update(sessions).where(*where).values(**_columns(after)))).rowcount == 1

    async def see_session(self, name: str, at: int) -> None:
        """It was used, at Unix seconds `at`; of several, the latest counts."""
        seen = at * times.SECOND
        where = (sessions.c.tenant == self._tenant, sessions.c.id == name, sessions.c.seen_at < seen)
        async with self._opened() as connection:
            await connection.execute(update(sessions).where(*where).values(seen_at=seen))

    async def session(self, name: str) -> Session:
        """Raises `NotThere`: it has ended, or never was."""
        async with self._opened() as connection:
            return viewed(Session, await self._row(connection, sessions, name, "session"))

    async def sessions(self, wanted: SessionFilter, limit: int, cursor: str | None = None) -> Page[Session]:
        """Newest first, those that have ended but are not forgotten included. Raises `CursorError`."""
        conditions: list[ColumnElement[bool]] = []
        if wanted.user is not None:
            conditions.append(sessions.c.user_id == wanted.user)
        return paged(Session, await self._page(sessions, conditions, limit, cursor))

    async def delete_session(self, name: str, event: Event) -> None:
        """It ends. Raises `NotThere`."""
        async with self._changing(event, published=False) as connection:
            await self._row(connection, sessions, name, "session")
            where = (sessions.c.tenant == self._tenant, sessions.c.id == name)
            await connection.execute(delete(sessions).where(*where))

    async def end_sessions(self, user: str, event: Event) -> int:
        """All of a user's, and platform tokens; how many sessions there were. Raises `NotThere`."""
        async with self._changing(event, published=False) as connection:
            await self._row(connection, users, user, "user")
            return await shut_out(connection, self._tenant, user, event.at)

    async def create_token(self, new: NewToken, event: Event) -> PlatformToken:
        """Raises `NotThere` for a user who may not log in."""
        ids.require("token", new.id)
        async with self._changing(event, published=False) as connection:
            await self._enabled(connection, new.user)
            await self._put(connection, tokens, new, created_at=event.at)
            return viewed(PlatformToken, await self._row(connection, tokens, new.id, "token"))

    async def token(self, name: str) -> PlatformToken:
        """Raises `NotThere`."""
        async with self._opened() as connection:
            return viewed(PlatformToken, await self._row(connection, tokens, name, "token"))

    async def tokens(self, limit: int, cursor: str | None = None, *, user: str | None = None) -> Page[PlatformToken]:
        """Newest first, those that have ended but are not forgotten included; `user`: only this one's. Raises
        `CursorError`."""
        mine = () if user is None else (tokens.c.user_id == user,)
        return paged(PlatformToken, await self._page(tokens, mine, limit, cursor))

    async def revoke_token(self, name: str, event: Event) -> None:
        """Raises `NotThere`, also where it was revoked before."""
        async with self._changing(event, published=False) as connection:
            if (await self._row(connection, tokens, name, "token")).revoked_at is not None:
                raise NotThere(f"token {name} was revoked")
            await self._change(connection, tokens, name, revoked_at=event.at)

    async def _enabled(self, connection: AsyncConnection, user: str) -> None:
        if (await self._row(connection, users, user, "user")).disabled:
            raise NotThere(f"user {user} is disabled")


def standing(row: Row[Any]) -> Standing:
    """A row of `dir_sessions`."""
    began, rotated, seen = (at // times.SECOND for at in (row.created_at, row.rotated_at, row.seen_at))
    return Standing(row.digest, row.previous, began=began, rotated=rotated, seen=seen, rights=row.rights)


def _columns(stands: Standing) -> dict[str, Any]:
    return {
        "digest": stands.digest,
        "previous": stands.previous,
        "rights": stands.rights,
        "created_at": stands.began * times.SECOND,
        "rotated_at": stands.rotated * times.SECOND,
        "seen_at": stands.seen * times.SECOND,
    }
