"""How the directory is reached: its place beside the store, its tables, its connections, and whose rows they show.

Rules: SQLite: a file of its own beside the store's, since `gatehouse store rebuild` replaces that. PostgreSQL: the
store's database, its tables called `dir_…` and migrated apart. What was committed is on disk; writers of several
machines wait for each other (`scoped`). Errors are those of `store.engine`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Final

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import engine, version
from gatehouse.store.directory.schema import LINEAGE

_ENDING: Final = ".db"


def located(store: URL) -> URL:
    """Where the directory is, from where the store is: `store.db` → `store.directory.db`, or the same database."""
    if not engine.is_file(store):
        return store
    return store.set(database=f"{str(store.database).removesuffix(_ENDING)}.directory{_ENDING}")


async def prepare(url: URL) -> bool:
    """Make or upgrade the tables if they are not this release's; true if anything was done. `url` as `located`.

    Raises `StoreError`; `StoreVersionError` if a newer release made them.
    """
    migrating = engine.file_writer(url, durable=True) if engine.is_file(url) else _server().migrator(url)
    try:
        async with engine.transaction(migrating) as connection:
            if not engine.is_file(url):
                await _server().take_turns(connection)
            due = await version.is_due(connection, LINEAGE)
            if due:
                await version.upgrade(connection, LINEAGE)
            if not engine.is_file(url):
                await _server().wall_off(connection)
    finally:
        await migrating.dispose()
    return due


def writer(url: URL) -> AsyncEngine:
    """An engine that reads and writes. Raises `StoreError`."""
    if engine.is_file(url):
        return engine.file_writer(url, durable=True)
    made: AsyncEngine = _server().writer(url)
    return made


def reader(url: URL) -> AsyncEngine:
    """An engine whose connections can only read, in transactions that each see one state."""
    if engine.is_file(url):
        return engine.reader(url)
    made: AsyncEngine = _server().reader(url)
    return made


async def as_tenant(connection: AsyncConnection, tenant: str) -> None:
    """This transaction sees and writes the tenant's rows only, where the database itself can see to that."""
    if not engine.is_file(connection.engine.url):
        await _server().show(connection, tenant=tenant)


async def as_operator(connection: AsyncConnection) -> None:
    """This transaction sees and writes all rows."""
    if not engine.is_file(connection.engine.url):
        await _server().show(connection, operator=True)


def _server() -> ModuleType:
    return importlib.import_module("gatehouse.store.directory.server")
