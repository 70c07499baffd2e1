"""One tenant's rows: transactions that see them, changes that wait for each other, pages, and how rows become views.

Rules: a change is one transaction that first raises the tenant's `revision`, so that changes of a tenant come one after
the other on every machine, and what was looked for is still so when the change is made. Its event goes into the outbox
in the same transaction. Every statement names the tenant, whatever the database shows (I6). Lists are read newest first
by id; no OFFSET, but where a contract wants one.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import ColumnElement, Row, Select, Table, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import present, times
from gatehouse.store.directory import access
from gatehouse.store.directory.changes import Event
from gatehouse.store.directory.errors import NotThere, Taken
from gatehouse.store.directory.schema import outbox, tenants
from gatehouse.store.directory.views import Page
from gatehouse.store.engine import transaction

View = TypeVar("View", bound=msgspec.Struct)

COLUMNS: Final = {"user": "user_id"}
"""Fields whose columns are called otherwise: `user` is a word of SQL."""
_MOST: Final = 1_000


class Scoped:
    """What all of a tenant's resources share. Every method raises `StoreError`; changes raise `DirectoryError` too."""

    def __init__(self, engine: AsyncEngine, tenant: str, within: AsyncConnection | None = None) -> None:
        """`engine`: of `access.writer`, or of `access.reader` where nothing is changed. `within`: its transaction that
        all of this takes place in."""
        self._engine = engine
        self._tenant = tenant
        self._within = within

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncConnection]:
        """The transaction everything takes place in, or one of its own."""
        if self._within is not None:
            yield self._within
            return
        async with transaction(self._engine) as connection:
            await access.as_tenant(connection, self._tenant)
            yield connection

    @asynccontextmanager
    async def _changing(self, event: Event | None, *, published: bool = True) -> AsyncIterator[AsyncConnection]:
        """A change, together with its event. Not `published`: the snapshot shows nothing of it."""
        async with self._opened() as connection, unique():
            # Of several changes in one transaction, one that is refused leaves nothing either.
            async with contextlib.nullcontext() if self._within is None else connection.begin_nested():
                await lock(connection, self._tenant, raised=published)
                if event is not None:
                    await put_event(connection, self._tenant, event)
                yield connection

    async def _row(self, connection: AsyncConnection, table: Table, name: str, what: str) -> Row[Any]:
        """The row with this id. Raises `NotThere`; `what` it is, for the message."""
        statement = self._select(table).where(table.c.id == name)
        found: Row[Any] | None = (await connection.execute(statement)).one_or_none()
        if found is None or getattr(found, "deleted_at", None) is not None:
            raise NotThere(f"there is no {what} {name}")
        return found

    async def _free(self, connection: AsyncConnection, table: Table, *conditions: ColumnElement[bool]) -> bool:
        """Whether no row of the tenant is like that."""
        where = (table.c.tenant == self._tenant, *conditions)
        return (await connection.execute(select(table.c.tenant).where(*where).limit(1))).first() is None

    async def _name_is_free(self, connection: AsyncConnection, table: Table, name: str, what: str) -> None:
        """Raises `Taken`; `what` it would name, for the message."""
        if not await self._free(connection, table, table.c.name_key == folded(name)):
            raise Taken(f"there is a {what} called {name} already")

    async def _renamed(
        self, connection: AsyncConnection, table: Table, before: Row[Any], name: str | UnsetType, what: str
    ) -> dict[str, Any]:
        """What changes with a name beside it. Raises `Taken`."""
        if isinstance(name, UnsetType):
            return {}
        if folded(name) != before.name_key:
            await self._name_is_free(connection, table, name, what)
        return {"name_key": folded(name)}

    async def _page(
        self, table: Table, conditions: Sequence[ColumnElement[bool]], limit: int, cursor: str | None, offset: int = 0
    ) -> tuple[list[Row[Any]], str | None]:
        """Rows, newest first, and the cursor of the next page."""
        statement = self._select(table).where(*conditions)
        if cursor is not None:
            statement = statement.where(table.c.id < present.id_at(cursor))
        limit = min(max(limit, 1), _MOST)
        statement = statement.order_by(table.c.id.desc()).limit(limit + 1)
        async with self._opened() as connection:
            rows = list(await connection.execute(statement.offset(offset) if offset else statement))
        return (rows, None) if len(rows) <= limit else (rows[:limit], present.cursor(rows[limit - 1].id))

    async def _put(self, connection: AsyncConnection, table: Table, new: msgspec.Struct, /, **more: Any) -> None:
        """A new row, whose columns are the fields of `new` and `more`."""
        given = {COLUMNS.get(name, name): value for name, value in msgspec.structs.asdict(new).items()}
        await connection.execute(table.insert().values(tenant=self._tenant, **(given | more)))

    async def _change(self, connection: AsyncConnection, table: Table, name: str, /, **changed: Any) -> None:
        """Columns of the row with this id."""
        if changed:
            where = (table.c.tenant == self._tenant, table.c.id == name)
            await connection.execute(update(table).where(*where).values(**changed))

    def _select(self, table: Table) -> Select[Any]:
        return select(table).where(table.c.tenant == self._tenant)


@asynccontextmanager
async def unique() -> AsyncIterator[None]:
    """What is unique over all tenants is found to be so only by the database: raises `Taken` then."""
    try:
        yield
    except IntegrityError as error:
        raise Taken("something that must be unique is in use already") from error


async def lock(connection: AsyncConnection, tenant: str, *, raised: bool) -> None:
    """No other change of this tenant takes place until this transaction ends; `raised`: it counts.

    Raises `NotThere`."""
    this = tenants.c.tenant == tenant
    if raised:
        statement = update(tenants).where(this).values(revision=tenants.c.revision + 1)
        there = (await connection.execute(statement)).rowcount == 1
    else:
        there = (await connection.execute(select(tenants.c.tenant).where(this).with_for_update())).first() is not None
    if not there:
        raise NotThere(f"there is no tenant {tenant}")


async def put_event(connection: AsyncConnection, tenant: str, event: Event) -> None:
    """Put an event into the outbox."""
    text = msgspec.json.encode(event).decode()
    await connection.execute(outbox.insert().values(tenant=tenant, id=event.id, event=text))


def paged(kind: type[View], found: tuple[list[Row[Any]], str | None]) -> Page[View]:
    """A page of views."""
    rows, cursor = found
    return Page([viewed(kind, row) for row in rows], cursor)


def viewed(kind: type[View], row: Row[Any], /, **more: Any) -> View:
    """A row as its view: fields are columns, but for `more`; times are text."""
    fields = {name: getattr(row, COLUMNS.get(name, name)) for name in kind.__struct_fields__ if name not in more}
    return kind(**{name: _shown(name, value) for name, value in fields.items()}, **more)


def changed(change: msgspec.Struct, *other: str) -> dict[str, Any]:
    """What a change sets, by column; not the fields of `other` names."""
    given = {name: getattr(change, name) for name in change.__struct_fields__ if name not in other}
    return {COLUMNS.get(name, name): value for name, value in given.items() if value is not UNSET}


def folded(text: str) -> str:
    """What is compared of an e-mail or a name."""
    return text.lower()


def _shown(name: str, value: Any) -> Any:
    return times.rfc3339(value) if name.endswith("_at") and value is not None else value
