"""Which migration the store is at, and whether this release can use it."""

from __future__ import annotations

import importlib

from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store.engine import StoreMissingError, StoreVersionError, transaction, unhurried
from gatehouse.store.schema import REVISION

_TABLE = "alembic_version"


async def ensure(engine: AsyncEngine) -> bool:
    """Make or upgrade the tables if they are not this release's; true if anything was done.

    `engine` is a writer's. Raises `StoreError`; `StoreVersionError` if a newer release made the store.
    """
    async with transaction(engine) as connection:
        found = await connection.run_sync(_revision)
        if found == REVISION:
            return False
        if found is not None and found > REVISION:
            raise _newer(found)
    async with unhurried(engine) as connection:
        # By name, not by import: a server whose tables are up to date never loads Alembic.
        await connection.run_sync(importlib.import_module("gatehouse.store.migrate").upgrade)
    return True


async def check(engine: AsyncEngine) -> None:
    """Raise `StoreMissingError` before the tables are there, `StoreVersionError` if they are not this release's."""
    async with transaction(engine) as connection:
        found = await connection.run_sync(_revision)
    if found is None:
        raise StoreMissingError("the store holds no tables yet; they are made when `gatehouse serve` first runs")
    if found > REVISION:
        raise _newer(found)
    if found < REVISION:
        raise StoreVersionError(
            f"the store's tables are at version {found}, older than this release's {REVISION}; "
            "`gatehouse serve` upgrades them"
        )


def _newer(found: str) -> StoreVersionError:
    return StoreVersionError(
        f"the store's tables are at version {found}, made by a newer release (this one knows {REVISION}); "
        "use that release, or move the store away to have it rebuilt from the journal"
    )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_TABLE):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {_TABLE}").scalar_one_or_none()  # noqa: S608
    return None if found is None else str(found)
