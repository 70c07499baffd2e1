"""How the store is reached: addresses, connections, transactions, and everything that differs between databases.

Rules: this is the only file that knows a dialect. SQLite runs in WAL mode; its one writer begins with BEGIN IMMEDIATE
(a deferred transaction that reads and then writes fails at once when another wrote in between), readers hold short
deferred transactions and cannot write. Errors of drivers are translated to `StoreError` at this border.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gatehouse.errors import ConfigError

PAGE_BYTES: Final = 8192
"""Rows of calls and spans are close to a kilobyte: with 4 KiB pages a fifth more is written."""

_BUSY_SECONDS: Final = 5.0
_WRITER: Final = (
    f"PRAGMA page_size = {PAGE_BYTES}",
    "PRAGMA journal_mode = WAL",
    # The journal is the source of truth: after a power failure what is missing here is collected again.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cache_size = -32768",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 2000",
    f"PRAGMA journal_size_limit = {64 * 1024 * 1024}",
)
_READER: Final = ("PRAGMA query_only = ON", "PRAGMA cache_size = -8192", "PRAGMA temp_store = MEMORY")


class StoreError(Exception):
    """The store cannot do what was asked: `str(error)` says what is wrong, in one sentence without SQL or secrets."""


class StoreMissingError(StoreError):
    """There is no store yet."""


class StoreVersionError(StoreError):
    """The tables are not those of this release."""


class StoreRowError(StoreError):
    """The database does not take what a row holds, now or later."""


def locate(data_dir: Path, database_url: str | None) -> URL:
    """The address of the store: `database.url`, else SQLite in the data directory. Raises `ConfigError`."""
    if database_url is None:
        return URL.create("sqlite+aiosqlite", database=str(data_dir / "store.db"))
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise ConfigError(
            "database.url: not a database URL; for example sqlite:////var/lib/gatehouse/store.db"
        ) from error
    if url.get_backend_name() != "sqlite" or url.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise ConfigError(f"database.url: {url.drivername} is not available in this release; sqlite is")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise ConfigError("database.url: name a file, sqlite:////path/to/store.db, without options")
    return URL.create("sqlite+aiosqlite", database=str((data_dir / url.database).absolute()))


def writer(url: URL) -> AsyncEngine:
    """An engine with the one writing connection. Creates the file, readable by its owner only. Raises `StoreError`."""
    path = _path(url)
    try:
        _make(path)
    except OSError as error:
        raise StoreError(f"cannot open the store {path}: {error.strerror}") from error
    engine = _engine(path, pool_size=1)
    _on_connect(engine, _WRITER)
    _on_begin(engine, "BEGIN IMMEDIATE")
    return engine


def reader(url: URL, *, connections: int = 4) -> AsyncEngine:
    """An engine whose connections can only read, in transactions that each see one state of the store."""
    engine = _engine(_path(url), pool_size=connections)
    _on_connect(engine, _READER)
    _on_begin(engine, "BEGIN")
    return engine


def identity(url: URL) -> tuple[int, int] | None:
    """Which file the store is at this moment: changes when somebody removes or replaces it. `None`: there is none."""
    try:
        found = os.stat(_path(url))
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def check_present(url: URL) -> None:
    """Raises `StoreMissingError` if there is no store to read."""
    if identity(url) is None:
        raise StoreMissingError(f"there is no store at {_path(url)} yet; it is made when `gatehouse serve` first runs")


def insert_new(table: Table) -> sqlite.Insert:
    """An INSERT that leaves rows alone which are there already."""
    return sqlite.insert(table).on_conflict_do_nothing()


def insert_or_update(table: Table, key: tuple[str, ...]) -> sqlite.Insert:
    """An INSERT that replaces all other columns of a row whose `key` is there already."""
    statement = sqlite.insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed)


@contextlib.asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction: committed at the end, rolled back on any error. Raises `StoreError` for what a driver raises,
    `StoreRowError` where trying again would not help."""
    try:
        async with engine.begin() as connection:
            yield connection
    except (IntegrityError, DataError, OverflowError, UnicodeEncodeError) as error:
        raise StoreRowError(_explain(error, engine.url)) from error
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise StoreError(_explain(error, engine.url)) from error


def _explain(error: Exception, url: URL) -> str:
    origin = getattr(error, "orig", None) or error
    said = str(origin).splitlines()[0] if str(origin) else type(origin).__name__
    return f"the store {_shown(url)} failed: {said[:200]}"


def _shown(url: URL) -> str:
    return str(url.database).removeprefix("file:")


def _make(path: str) -> None:
    """Have the file there, and be able to write it. Raises `OSError`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return
    for suffix in ("-wal", "-shm"):
        # Left by a store that was removed without them: SQLite would take them for the new one's.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _path(url: URL) -> str:
    return str(url.database)


def _engine(path: str, *, pool_size: int) -> AsyncEngine:
    return create_async_engine(
        # `rw`: only `writer` makes a file, and with the right mode.
        URL.create("sqlite+aiosqlite", database=f"file:{_quoted(path)}", query={"mode": "rw", "uri": "true"}),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_BUSY_SECONDS,
        # Without this the driver begins transactions by itself, and only before the first write.
        connect_args={"isolation_level": None, "timeout": _BUSY_SECONDS},
    )


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _on_connect(engine: AsyncEngine, pragmas: tuple[str, ...]) -> None:
    def connected(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        try:
            for pragma in pragmas:
                cursor.execute(pragma)
        finally:
            cursor.close()

    event.listen(engine.sync_engine, "connect", connected)


def _on_begin(engine: AsyncEngine, statement: str) -> None:
    def begun(connection: Connection) -> Any:
        connection.exec_driver_sql(statement)

    event.listen(engine.sync_engine, "begin", begun)
