"""The directory over all tenants: for the control plane itself, and for whoever owns the data directory.

Rules: this is the only query class without a tenant, and the import contract in pyproject names who may import it.
What it gives out about one tenant never reaches another's caller. Who stands behind a session, a token or a key is
answered where neither the user nor the tenant is disabled, for tokens and keys that are valid at the given moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from sqlalchemy import Column, ColumnElement, Row, Table, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.auth.sessions import ABSOLUTE, IDLE
from gatehouse.model.snapshot import Sections
from gatehouse.store import present, times
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import Event, NewProject, NewTenant, NewUser, Outgoing
from gatehouse.store.directory.directory import Directory, tenant_view
from gatehouse.store.directory.entrances import standing
from gatehouse.store.directory.errors import NotThere, Taken
from gatehouse.store.directory.people import OWNER, role_now
from gatehouse.store.directory.published import read
from gatehouse.store.directory.schema import (
    credentials,
    issuers,
    keys,
    outbox,
    projects,
    sessions,
    tenants,
    tokens,
    users,
    webhooks,
)
from gatehouse.store.directory.scoped import folded, lock, put_event, unique, viewed
from gatehouse.store.directory.views import (
    Holder,
    Hook,
    KeySet,
    LogIn,
    Page,
    Presented,
    Sealed,
    SealedKind,
    StoredSecret,
    Tenant,
)
from gatehouse.store.engine import transaction

_MOST: Final = 1_000
_SEALED: Final[dict[SealedKind, tuple[Table, Column[Any], Column[Any]]]] = {
    "credential": (credentials, credentials.c.id, credentials.c.sealed),
    "token": (credentials, credentials.c.id, credentials.c.token),
    "hook": (credentials, credentials.c.id, credentials.c.rotate_key),
    "webhook": (webhooks, webhooks.c.tenant, webhooks.c.sealed),
}
"""Table, id and secret of what is sealed."""


class OperatorStore:
    """All tenants. Every method raises `StoreError`."""

    def __init__(self, engine: AsyncEngine) -> None:
        """`engine`: of `access.writer`, or of `access.reader` where nothing is changed."""
        self._engine = engine

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncConnection]:
        async with transaction(self._engine) as connection, unique():
            await access.as_operator(connection)
            yield connection

    async def tenant(self, name: str) -> Tenant:
        """Raises `NotThere`."""
        async with self._opened() as connection:
            found = (await connection.execute(select(tenants).where(tenants.c.tenant == name))).one_or_none()
        if found is None:
            raise NotThere(f"there is no tenant {name}")
        return tenant_view(found)

    async def tenants(self, limit: int, cursor: str | None = None) -> Page[Tenant]:
        """By id, descending: newest first. Raises `CursorError`."""
        limit = min(max(limit, 1), _MOST)
        statement = select(tenants).order_by(tenants.c.tenant.desc()).limit(limit + 1)
        if cursor is not None:
            statement = statement.where(tenants.c.tenant < present.id_at(cursor))
        async with self._opened() as connection:
            found = [tenant_view(row) for row in await connection.execute(statement)]
        return Page(found[:limit], None if len(found) <= limit else present.cursor(found[limit - 1].id))

    async def create_tenant(self, new: NewTenant, event: Event) -> Tenant:
        """Raises `Taken`."""
        async with self._opened() as connection:
            await _create(connection, new, event.at)
            await put_event(connection, new.id, event)
        return await self.tenant(new.id)

    async def set_up(self, tenant: NewTenant, project: NewProject, owner: NewUser, events: Sequence[Event]) -> None:
        """The tenant, its project and its owner, all or nothing; what is there of the first two is left as it is.

        `events`: one for each of the three, of those that are made. Raises `Taken` where the tenant has an owner.
        """
        made_tenant, made_project, made_owner = events
        async with self._opened() as connection:
            there = select(tenants.c.tenant).where(tenants.c.tenant == tenant.id)
            if (await connection.execute(there)).first() is None:
                await _create(connection, tenant, made_tenant.at)
                await put_event(connection, tenant.id, made_tenant)
            # Of two at once, the second waits here, and then finds the first one's owner.
            await lock(connection, tenant.id, raised=True)
            if await _has_owner(connection, tenant.id):
                raise Taken(f"tenant {tenant.id} has an owner already")
            inside = Directory(self._engine, tenant.id, connection)
            there = select(projects.c.id).where(projects.c.tenant == tenant.id, projects.c.id == project.id)
            if (await connection.execute(there)).first() is None:
                await inside.create_project(project, made_project)
            await inside.create_user(owner, made_owner)

    async def has_owner(self) -> bool:
        """Whether somebody can log in to the first tenant who may do everything there."""
        async with self._opened() as connection:
            return await _has_owner(connection, ids.DEFAULT)

    async def who_logs_in(self, email: str) -> list[LogIn]:
        """Users with this e-mail address, in any case: at most one per tenant."""
        columns = (users.c.tenant, users.c.id, users.c.role, users.c.password_hash)
        where = (users.c.email_key == folded(email), ~users.c.disabled, ~tenants.c.disabled)
        statement = select(*columns).join(tenants, tenants.c.tenant == users.c.tenant).where(*where)
        async with self._opened() as connection:
            return [LogIn(*row) for row in await connection.execute(statement.order_by(users.c.tenant))]

    async def session(self, digest: bytes) -> Presented | None:
        """The session whose token this is, or was before the present one, and who stands behind it."""
        found = await self._holder(sessions, (sessions.c.digest == digest) | (sessions.c.previous == digest))
        if found is None:
            return None
        expires_at = times.rfc3339(found.created_at + ABSOLUTE * times.SECOND)
        return Presented(_holder("session", found, expires_at=expires_at), standing(found))

    async def platform_token(self, jti: str, now: int) -> Holder | None:
        """Who stands behind a platform token; `now` in microseconds since the epoch."""
        valid = (tokens.c.expires_at > now, tokens.c.revoked_at.is_(None))
        found = await self._holder(tokens, tokens.c.id == jti, *valid)
        return None if found is None else _holder("token", found, scopes=tuple(found.scopes))

    async def gateway_key(self, digest: bytes, now: int) -> Holder | None:
        """Who stands behind a gateway key."""
        valid = (
            keys.c.revoked_at.is_(None),
            keys.c.disabled_at.is_(None),
            func.coalesce(keys.c.expires_at, now + 1) > now,
            func.coalesce(keys.c.retires_at, now + 1) > now,
        )
        found = await self._holder(keys, keys.c.digest == digest, *valid)
        if found is None:
            return None
        return _holder(
            "key",
            found,
            scopes=tuple(found.scopes),
            role=found.role,
            project=found.project,
            addresses=tuple(found.addresses),
            maker_role=await self._role(found.tenant, found.created_by),
        )

    async def _role(self, tenant: str, name: str | None) -> str | None:
        """What somebody may be now. `None`: that is nobody."""
        where = (users.c.tenant == tenant, users.c.id == name)
        async with self._opened() as connection:
            found: str | None = (await connection.execute(select(role_now(users)).where(*where))).scalar_one_or_none()
            return found

    async def revision(self) -> int:
        """Changes with every change of what `sections` gives."""
        async with self._opened() as connection:
            return await _revision(connection)

    async def sections(self) -> Sections:
        """What the snapshot takes from here, as it is at one moment: `engine` is a reader's, or nobody writes."""
        async with self._opened() as connection:
            return await read(connection, await _revision(connection))

    async def outbox(self, limit: int = 100) -> list[Outgoing]:
        """Events that are not in the journal yet, oldest first."""
        statement = select(outbox.c.tenant, outbox.c.event).order_by(outbox.c.id).limit(limit)
        async with self._opened() as connection:
            rows = await connection.execute(statement)
            return [Outgoing(tenant, msgspec.json.decode(event, type=Event)) for tenant, event in rows]

    async def journalled(self, names: Sequence[str]) -> None:
        """These events are in the journal."""
        async with self._opened() as connection:
            await connection.execute(delete(outbox).where(outbox.c.id.in_(list(names))))

    async def stored_secrets(self) -> list[StoredSecret]:
        """Credentials that are in use, with their secrets."""
        columns = [credentials.c[name] for name in StoredSecret.__struct_fields__]
        where = (credentials.c.deleted_at.is_(None), ~credentials.c.disabled)
        async with self._opened() as connection:
            rows = await connection.execute(select(*columns).where(*where).order_by(credentials.c.id))
            return [viewed(StoredSecret, row) for row in rows]

    async def key_sets(self) -> list[KeySet]:
        """Issuers whose keys are fetched."""
        columns = [issuers.c[name] for name in KeySet.__struct_fields__]
        async with self._opened() as connection:
            rows = await connection.execute(select(*columns).where(~issuers.c.disabled).order_by(issuers.c.id))
            return [viewed(KeySet, row) for row in rows]

    async def webhooks(self) -> list[Hook]:
        """Where tenants' events are posted to."""
        async with self._opened() as connection:
            rows = await connection.execute(
                select(webhooks.c.tenant, webhooks.c.url, webhooks.c.sealed, webhooks.c.posted)
            )
            return [Hook(*row) for row in rows]

    async def sealed(self) -> list[Sealed]:
        """All there is under the master key."""
        found: list[Sealed] = []
        async with self._opened() as connection:
            for kind, (table, name, secret) in _SEALED.items():
                statement = select(table.c.tenant, name, secret).where(func.length(secret) > 0)
                found += [Sealed(tenant, kind, *row) for tenant, *row in await connection.execute(statement)]
        return found

    async def resealed(self, old: Sealed, new: bytes) -> bool:
        """The same under another master key. False, and nothing done: it was replaced meanwhile."""
        table, name, secret = _SEALED[old.kind]
        where = (table.c.tenant == old.tenant, name == old.id, secret == old.sealed)
        async with self._opened() as connection:
            await lock(connection, old.tenant, raised=True)
            return (await connection.execute(update(table).where(*where).values({secret.name: new}))).rowcount == 1

    async def forget_expired(self, now: int) -> int:
        """Sessions and platform tokens that have ended go; how many."""
        idle, absolute = now - IDLE * times.SECOND, now - ABSOLUTE * times.SECOND
        over = delete(sessions).where((sessions.c.seen_at <= idle) | (sessions.c.created_at <= absolute))
        async with self._opened() as connection:
            gone = [await connection.execute(each) for each in (over, delete(tokens).where(tokens.c.expires_at <= now))]
        return sum(each.rowcount for each in gone)

    async def _holder(self, table: Table, *conditions: ColumnElement[bool]) -> Row[Any] | None:
        """A row, and its user's role, where neither the user nor the tenant is disabled."""
        user = and_(users.c.tenant == table.c.tenant, users.c.id == table.c.user_id)
        statement = (
            select(table, users.c.role.label("user_role"))
            .join(tenants, tenants.c.tenant == table.c.tenant)
            .outerjoin(users, user)
            .where(*conditions, ~tenants.c.disabled, ~func.coalesce(users.c.disabled, False))
        )
        async with self._opened() as connection:
            return (await connection.execute(statement)).one_or_none()


def _holder(kind: Any, row: Row[Any], **more: Any) -> Holder:
    given = {"kind": kind, "scopes": (), "role": None, "project": None, "addresses": (), "maker_role": None}
    return viewed(Holder, row, **(given | more))


async def _create(connection: AsyncConnection, new: NewTenant, at: int) -> None:
    """Raises `Taken`."""
    ids.require("tenant", new.id)
    same = (tenants.c.tenant == new.id) | (tenants.c.name_key == folded(new.name))
    if (await connection.execute(select(tenants.c.tenant).where(same))).first() is not None:
        raise Taken(f"there is a tenant {new.id} or one called {new.name} already")
    row = {"tenant": new.id, "name": new.name, "name_key": folded(new.name), "created_at": at}
    await connection.execute(tenants.insert().values(**row, disabled=False, revision=1))


async def _has_owner(connection: AsyncConnection, tenant: str) -> bool:
    where = (users.c.tenant == tenant, users.c.role == OWNER, ~users.c.disabled)
    return (await connection.execute(select(users.c.id).where(*where).limit(1))).first() is not None


async def _revision(connection: AsyncConnection) -> int:
    """The sum over tenants: each of a tenant's changes raises one of them by one, whoever else changes what."""
    return int((await connection.execute(select(func.coalesce(func.sum(tenants.c.revision), 0)))).scalar_one())
