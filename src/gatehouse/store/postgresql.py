"""The store on PostgreSQL: connections over asyncpg, and what else is different there.

Rules: only `engine` and `directory.server` use this, and it is loaded only where the store is on PostgreSQL. A writer's
connection has an advisory lock from its first moment to its last, so that one collector writes a store however many
machines there are; PostgreSQL gives it back when the connection ends, however it ends. Readers are read only and see
one state of the store per transaction. Everything has a time-out, on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import Connection, Table, event
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gatehouse.store import walls
from gatehouse.store.engine import BUSY_SECONDS, StoreBusyError, StoreError, shown, transaction
from gatehouse.store.walls import show

__all__ = [
    "connect",
    "clear",
    "insert",
    "leave",
    "pooled",
    "reader",
    "show",
    "sort_by_bytes",
    "take_over",
    "used_bytes",
    "wall_off",
    "writer",
]

OLDEST: Final = 15
"""Major version of the oldest server that is good enough."""
_NAMED_SCHEMA: Final = "schema"
"""Of an address that `engine.beside` made. Else the tables are where the database says: in `public`, usually."""
_ANY_TABLE: Final = "traces"
"""Of those that all have the same rights."""
_CONNECT_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 1.0
READ_SECONDS: Final = 30
WRITE_SECONDS: Final = 60
_GRACE_SECONDS: Final = 5
"""How much longer than the server's own time-out to wait: a host that is gone says nothing."""
_LOCK: Final = "SELECT pg_advisory_lock(1195464008, hashtext(coalesce(current_schema(), '')))"
_OTHERWISE_SORTED: Final = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'
    ORDER BY table_name, ordinal_position
"""
_TABLES: Final = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = $1 ORDER BY 1"
_ROWS: Final = """
    SELECT CASE WHEN live.n_live_tup > 0 THEN live.n_live_tup ELSE greatest(class.reltuples, 0)::bigint END
    FROM pg_class AS class JOIN pg_stat_user_tables AS live ON live.relid = class.oid
    WHERE live.schemaname = current_schema() AND live.relname = $1
"""
"""After a crash of the server the first number is 0, and the second one of its last ANALYZE."""
_ATTEMPTS: Final = 40
_ATTEMPT_SECONDS: Final = 0.25
_SAMPLE: Final = 200
_ROW_BYTES: Final = 150
"""What a row takes beside its columns: its head, its entries in indexes, room left on pages."""
_COMMON: Final = {
    "application_name": "gatehouse",
    "lock_timeout": f"{BUSY_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": "60s",
    # Queries are many and small.
    "jit": "off",
}
_WRITER: Final = {
    # The journal is the source of truth: after a crash of the server what is missing here is collected again.
    "synchronous_commit": "off",
}
_READER: Final = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "repeatable read",
}


def writer(url: URL, *, seconds: int | None = WRITE_SECONDS) -> AsyncEngine:
    """One connection, which no other writer has beside it. `seconds` for one statement; `None`: as long as it takes."""

    async def opened() -> asyncpg.Connection:
        connection = await connect(url, _WRITER, seconds)
        try:
            if _NAMED_SCHEMA in url.query:
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {url.query[_NAMED_SCHEMA]}")
            await connection.execute(_LOCK)
            # It collects for every tenant.
            await walls.show_everything(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            await leave(connection)
            if isinstance(error, asyncpg.LockNotAvailableError):
                raise StoreBusyError(
                    f"another gatehouse collects into {shown(url)}; give each data directory a database of its own"
                ) from error
            raise StoreError(f"cannot use the store {shown(url)}: {error}") from error
        return connection

    return create_async_engine(
        url, async_creator=opened, pool_size=1, max_overflow=0, pool_timeout=BUSY_SECONDS, hide_parameters=True
    )


def reader(url: URL, connections: int, *, everybody: bool) -> AsyncEngine:
    """Connections that can only read: what the transaction's tenant has, or `everybody`."""

    async def opened() -> asyncpg.Connection:
        connection = await connect(url, _READER, READ_SECONDS)
        try:
            await walls.give_up_ownership(connection, _ANY_TABLE)
            if everybody:
                await walls.show_everything(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            await leave(connection)
            raise StoreError(f"cannot use the store {shown(url)}: {error}") from error
        return connection

    return pooled(url, opened, connections)


def pooled(url: URL, opened: Callable[[], Awaitable[asyncpg.Connection]], connections: int) -> AsyncEngine:
    """An engine over up to so many connections, which `opened` makes."""
    engine = create_async_engine(
        url,
        async_creator=opened,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,
        # Connections that a restart of the server has cut are replaced unnoticed.
        pool_pre_ping=True,
    )
    event.listen(engine.sync_engine, "before_cursor_execute", _without_zeros, retval=True)
    return engine


async def wall_off(connection: AsyncConnection, tables: Iterable[Table], version: str) -> None:
    """Readers get what is their tenant's; the collector, who owns the tables, writes for all."""
    await walls.wall_off(connection, tables, version, walls.READING)


async def clear(engine: AsyncEngine, schema: str) -> None:
    """There is no such schema any more. Raises `StoreError`."""
    async with transaction(engine) as connection:
        await connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


async def take_over(engine: AsyncEngine, schema: str) -> None:
    """The tables of the schema take the place of those of the same name; the schema goes. Raises `StoreError`."""
    async with transaction(engine) as connection:
        for name in (await connection.exec_driver_sql(_TABLES, (schema,))).scalars().all():
            # Without statistics the first questions would be planned blindly.
            await connection.exec_driver_sql(f"ANALYZE {schema}.{name}")
    for attempt in range(_ATTEMPTS):
        try:
            await _take_over(engine, schema)
            break
        except StoreError as error:
            # A reader has one table and waits for another: it goes first.
            if attempt == _ATTEMPTS - 1 or _state(error) != asyncpg.LockNotAvailableError.sqlstate:
                raise
            await asyncio.sleep(_ATTEMPT_SECONDS)
    await engine.dispose()


async def _take_over(engine: AsyncEngine, schema: str) -> None:
    async with transaction(engine) as connection:
        home = (await connection.exec_driver_sql("SELECT quote_ident(current_schema())")).scalar_one()
        found = await connection.exec_driver_sql(_TABLES, (schema,))
        names = found.scalars().all()
        # Less than the second after which the server would end one of two that wait for each other.
        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{1000 * _ATTEMPT_SECONDS:.0f}ms'")
        tables = ", ".join(f"{home}.{name}" for name in names)
        await connection.exec_driver_sql(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        for name in names:
            await connection.exec_driver_sql(f"DROP TABLE {home}.{name}")
            await connection.exec_driver_sql(f"ALTER TABLE {schema}.{name} SET SCHEMA {home}")
        await connection.exec_driver_sql(f"DROP SCHEMA {schema}")


def _state(error: StoreError) -> str | None:
    return getattr(getattr(error.__cause__, "orig", None), "sqlstate", None)


async def used_bytes(engine: AsyncEngine, tables: Iterable[Table]) -> int:
    """Live rows, as the server counts them, times what some of the newest take on average. Raises `StoreError`."""
    async with transaction(engine) as connection:
        # What this connection has just written or deleted is counted when the transaction ends.
        await connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    used = 0.0
    async with transaction(engine) as connection:
        for table in tables:
            rows = (await connection.exec_driver_sql(_ROWS, (table.name,))).scalar_one_or_none()
            if rows:
                newest = ", ".join(f"{column.name} DESC" for column in table.primary_key.columns)
                sample = f"SELECT * FROM {table.name} ORDER BY {newest} LIMIT {_SAMPLE}"  # noqa: S608 - our own names
                size = f"SELECT avg(pg_column_size(row.*))::float8 FROM ({sample}) AS row"  # noqa: S608
                used += rows * (((await connection.exec_driver_sql(size)).scalar_one() or 0.0) + _ROW_BYTES)
    return round(used)


def sort_by_bytes(connection: Connection) -> None:
    """Give every text column that has another one the collation "C"."""
    columns = connection.exec_driver_sql(_OTHERWISE_SORTED).all()
    quote = connection.dialect.identifier_preparer.quote
    for table, names in itertools.groupby(columns, key=lambda row: row.table_name):
        changes = ", ".join(f'ALTER COLUMN {quote(row.column_name)} TYPE text COLLATE "C"' for row in names)
        connection.exec_driver_sql(f"ALTER TABLE {quote(table)} {changes}")


def _without_zeros(*said: Any) -> tuple[str, Any]:
    """What is looked for, without U+0000: the server refuses it, and the collector has put U+FFFD in its place."""
    statement, parameters = said[2], said[3]
    if isinstance(parameters, tuple) and any(isinstance(value, str) and "\0" in value for value in parameters):
        parameters = tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in parameters)
    return statement, parameters


async def connect(url: URL, settings: dict[str, str], seconds: int | None) -> asyncpg.Connection:
    """A connection with these of the server's settings; `seconds` for one statement. Raises `StoreError`."""
    limit = "0" if seconds is None else f"{seconds}s"
    schema = url.query.get(_NAMED_SCHEMA)
    if schema is not None:
        settings = settings | {"search_path": str(schema)}
    try:
        connection = await asyncpg.connect(
            # What the address leaves out is looked for where PostgreSQL's own tools do: PGPASSWORD, ~/.pgpass.
            dsn=_libpq(url),
            timeout=_CONNECT_SECONDS,
            command_timeout=None if seconds is None else seconds + _GRACE_SECONDS,
            server_settings=_COMMON | settings | {"statement_timeout": limit},
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        said = "it did not answer in time" if isinstance(error, TimeoutError) else str(error).splitlines()[0]
        raise StoreError(f"cannot connect to the store {shown(url)}: {said}") from error
    try:
        _check(connection, url)
        # Only sums of 64-bit integers are of this type: integers, however large.
        await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError) as error:
        await leave(connection)
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot use the store {shown(url)}: {error}") from error
    return connection


async def leave(connection: asyncpg.Connection) -> None:
    """Whatever state it is in."""
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await connection.close(timeout=_LEAVE_SECONDS)


def _libpq(url: URL) -> str:
    """The address as PostgreSQL's own tools write it, password included."""
    plain = url.difference_update_query([_NAMED_SCHEMA]).set(drivername="postgresql")
    return plain.render_as_string(hide_password=False)


def _check(connection: Any, url: URL) -> None:
    """Raises `StoreError`."""
    version, encoding = connection.get_server_version().major, connection.get_settings().server_encoding
    if version < OLDEST:
        raise StoreError(f"the store {shown(url)} is PostgreSQL {version}; {OLDEST} or newer is needed")
    if encoding != "UTF8":
        raise StoreError(
            f"the store {shown(url)} has the encoding {encoding}; CREATE DATABASE … ENCODING 'UTF8' is needed"
        )
