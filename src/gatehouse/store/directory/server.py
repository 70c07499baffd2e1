"""The directory on PostgreSQL: its connections.

Rules: only `access` uses this, and loads it only where the database is PostgreSQL. A commit waits for the disk, and
nobody takes the collector's lock: the control planes of several machines write. Connections work as a role that owns
nothing, where there is one, and see the rows that each transaction says (`store.walls`).
"""

from __future__ import annotations

from typing import Final

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import walls
from gatehouse.store.directory.schema import LINEAGE, metadata, outbox
from gatehouse.store.engine import StoreError, shown
from gatehouse.store.postgresql import READ_SECONDS, WRITE_SECONDS, connect, leave, pooled
from gatehouse.store.walls import show

__all__ = ["migrator", "reader", "show", "take_turns", "wall_off", "writer"]

_CONNECTIONS: Final = 4
_WRITER: Final = {"synchronous_commit": "on", "default_transaction_isolation": "read committed"}
"""A change that waited for another must see it."""
_READER: Final = {"default_transaction_read_only": "on", "default_transaction_isolation": "repeatable read"}
_TURNS: Final = text("SELECT pg_advisory_xact_lock(1195464009, hashtext(coalesce(current_schema(), '')))")


def migrator(url: URL) -> AsyncEngine:
    """One connection as the user of the address, whose statements take as long as they take."""
    return _engine(url, _WRITER, seconds=None, connections=1, as_role=False)


def writer(url: URL) -> AsyncEngine:
    """Connections that read and write; others may have some too."""
    return _engine(url, _WRITER, seconds=WRITE_SECONDS, connections=_CONNECTIONS, as_role=True)


def reader(url: URL) -> AsyncEngine:
    """Connections that can only read."""
    return _engine(url, _READER, seconds=READ_SECONDS, connections=_CONNECTIONS, as_role=True)


async def take_turns(connection: AsyncConnection) -> None:
    """Nobody else is in a transaction that has called this; it sees all rows. For migrations."""
    await connection.execute(_TURNS)
    await show(connection, operator=True)


async def wall_off(connection: AsyncConnection) -> None:
    """Every table of the directory has its policy, and the role without ownership may use it."""
    await walls.wall_off(connection, metadata.sorted_tables, LINEAGE.table, walls.ALL)


def _engine(url: URL, settings: dict[str, str], *, seconds: int | None, connections: int, as_role: bool) -> AsyncEngine:
    async def opened() -> asyncpg.Connection:
        connection = await connect(url, settings, seconds)
        if as_role:
            try:
                await walls.give_up_ownership(connection, outbox.name)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                await leave(connection)
                raise StoreError(f"cannot use the store {shown(url)}: {error}") from error
        return connection

    return pooled(url, opened, connections)
