"""Which migration tables are at, and whether this release can use them: the store's, and the directory's."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection, MetaData, inspect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import schema
from gatehouse.store.engine import StoreMissingError, StoreVersionError, transaction, unhurried, wall_off


class Lineage(msgspec.Struct, frozen=True):
    """Tables that are migrated together, apart from others that may be in the same database."""

    name: str
    """What they are called in messages: `store`."""
    revision: str
    """The migration this release's tables are at."""
    metadata: MetaData
    migrations: Path
    table: str
    """Where the database keeps the migration it is at."""
    otherwise: str
    """What to do where a newer release made the tables, other than using that."""


STORE: Final = Lineage(
    name="store",
    revision=schema.REVISION,
    metadata=schema.metadata,
    migrations=Path(__file__).parent / "migrations",
    table="alembic_version",
    otherwise="move the store away to have it rebuilt from the journal",
)


async def ensure(engine: AsyncEngine) -> bool:
    """Make or upgrade the store's tables if they are not this release's; true if anything was done.

    `engine` is a writer's. Raises `StoreError`; `StoreVersionError` if a newer release made the store.
    """
    async with transaction(engine) as connection:
        if not await is_due(connection, STORE):
            await wall_off(connection, STORE.metadata.sorted_tables, STORE.table)
            return False
    async with unhurried(engine) as connection:
        await upgrade(connection, STORE)
        await wall_off(connection, STORE.metadata.sorted_tables, STORE.table)
    return True


async def is_due(connection: AsyncConnection, lineage: Lineage) -> bool:
    """Whether these tables are to be made or upgraded. Raises `StoreVersionError` if a newer release made them."""
    found = await connection.run_sync(_revision, lineage)
    if found is not None and found > lineage.revision:
        raise _newer(found, lineage)
    return found != lineage.revision


async def upgrade(connection: AsyncConnection, lineage: Lineage) -> None:
    """Make or upgrade these tables, in the open transaction."""
    # By name, not by import: a server whose tables are up to date never loads Alembic.
    await connection.run_sync(importlib.import_module("gatehouse.store.migrate").upgrade, lineage)


async def check(engine: AsyncEngine) -> None:
    """Raise `StoreMissingError` before the tables are there, `StoreVersionError` if they are not this release's."""
    async with transaction(engine) as connection:
        found = await connection.run_sync(_revision, STORE)
    if found is None:
        raise StoreMissingError("the store holds no tables yet; they are made when `gatehouse serve` first runs")
    if found > STORE.revision:
        raise _newer(found, STORE)
    if found < STORE.revision:
        raise StoreVersionError(
            f"the store's tables are at version {found}, older than this release's {STORE.revision}; "
            "`gatehouse serve` upgrades them"
        )


def _newer(found: str, lineage: Lineage) -> StoreVersionError:
    return StoreVersionError(
        f"the {lineage.name}'s tables are at version {found}, made by a newer release (this one knows "
        f"{lineage.revision}); use that release, or {lineage.otherwise}"
    )


def _revision(connection: Connection, lineage: Lineage) -> str | None:
    if not inspect(connection).has_table(lineage.table):
        return None
    statement = f"SELECT version_num FROM {lineage.table}"  # noqa: S608 - our own name
    found = connection.exec_driver_sql(statement).scalar_one_or_none()
    return None if found is None else str(found)
