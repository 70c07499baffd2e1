"""How the store is reached: addresses, connections, transactions, and everything that differs between databases.

Rules: this file, `sqlite` and `postgresql` are the only ones that know a dialect; for the directory, `directory.access`
and `directory.server`. `postgresql` is loaded by name, where the store is there and nowhere else (it costs 60 ms and
6 MB). Errors of drivers are translated to `StoreError` at this border, and no message names a password or repeats what
a row holds.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.errors import ConfigError
from gatehouse.store import sqlite

BUSY_SECONDS: Final = 5.0
"""How long one waits for another's transaction, a connection, or the right to write."""
_SERVER: Final = "postgresql+asyncpg"
_POSTGRESQL: Final = ("postgresql", "postgres", _SERVER)
_OPTIONS: Final = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey")
_EXAMPLES: Final = "sqlite:////var/lib/gatehouse/store.db and postgresql://user:password@host:5432/database"
_SCHEMA: Final = "schema"
"""Where in the database: of addresses made here, never of a configured one."""
_ELSEWHERE: Final = (0, 0)
_REFUSED_VALUES: Final = ("22", "23", "54")
"""Classes of SQLSTATE: data exceptions, broken constraints, values too large (for an index, say)."""


class StoreError(Exception):
    """The store cannot do what was asked: `str(error)` says what is wrong, in one sentence without SQL or secrets."""


class StoreMissingError(StoreError):
    """There is no store yet."""


class StoreVersionError(StoreError):
    """The tables are not those of this release."""


class StoreBusyError(StoreError):
    """Another collector has the store."""


class StoreRowError(StoreError):
    """The database does not take what a row holds, now or later."""


def locate(data_dir: Path, database_url: str | None) -> URL:
    """The address of the store: `database.url`, else SQLite in the data directory. Raises `ConfigError`."""
    if database_url is None:
        return URL.create("sqlite+aiosqlite", database=str(data_dir / "store.db"))
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        # Without the cause: it repeats the text, which may hold a password.
        raise ConfigError(f"database.url: not a database URL; for example {_EXAMPLES}") from None
    if url.drivername in _POSTGRESQL:
        return _server(url)
    if url.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise ConfigError(f"database.url: {url.drivername} is not available; {_EXAMPLES} are")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise ConfigError("database.url: name a file, sqlite:////path/to/store.db, without options")
    return URL.create("sqlite+aiosqlite", database=str((data_dir / url.database).absolute()))


def writer(url: URL) -> AsyncEngine:
    """An engine with the one writing connection. Raises `StoreError`.

    SQLite: creates the file, readable by its owner only. PostgreSQL: no other writer has a connection meanwhile; its
    first transaction raises `StoreBusyError` where one has.
    """
    if _is_server(url):
        made: AsyncEngine = _postgresql().writer(url)
        return made
    return file_writer(url)


def file_writer(url: URL, *, durable: bool = False) -> AsyncEngine:
    """An engine with one writing connection to a SQLite file, which is made, readable by its owner only.

    `durable`: a power failure takes nothing that was committed, and what is deleted is overwritten.
    Raises `StoreError`.
    """
    path = _path(url)
    try:
        return sqlite.writer(path, BUSY_SECONDS, durable=durable)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot open the store {path}: {getattr(error, 'strerror', error)}") from error


def reader(url: URL, *, connections: int = 4, everybody: bool = False) -> AsyncEngine:
    """An engine whose connections can only read, in transactions that each see one state of the store.

    PostgreSQL shows the rows of the tenant that a transaction names; `everybody`: of all, named or not.
    """
    if _is_server(url):
        made: AsyncEngine = _postgresql().reader(url, connections, everybody=everybody)
        return made
    return sqlite.reader(_path(url), BUSY_SECONDS, connections=connections)


def identity(url: URL) -> tuple[int, int] | None:
    """Which file the store is at this moment: changes when somebody removes or replaces it. `None`: there is none.

    A server's database is always the same: whoever is connected to it notices what happens there.
    """
    if _is_server(url):
        return _ELSEWHERE
    try:
        found = os.stat(_path(url))
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def check_present(url: URL) -> None:
    """Raises `StoreMissingError` if there is no store to read."""
    if identity(url) is None:
        raise StoreMissingError(f"there is no store at {_path(url)} yet; it is made when `gatehouse serve` first runs")


def is_file(url: URL) -> bool:
    """Whether the store is a file of this machine."""
    return not _is_server(url)


def shown(url: URL) -> str:
    """The store's address for people: a file, or host, port and database. No user, no password."""
    if _is_server(url):
        host = url.host or url.query.get("host", "localhost")
        return f"postgresql://{host}:{url.port or 5432}/{url.database}"
    return str(url.database).removeprefix("file:")


def insert_new(engine: AsyncEngine, table: Table) -> Insert:
    """An INSERT that leaves rows alone which are there already."""
    # The key is named: a conflict of surrogate keys would be a fault, and must show.
    statement = _insert(engine, table)
    unique = [index.columns for index in table.indexes if index.unique] or [table.primary_key.columns]
    made: Insert = statement.on_conflict_do_nothing(index_elements=list(unique[0]))
    return made


def insert_or_update(engine: AsyncEngine, table: Table, key: tuple[str, ...]) -> Insert:
    """An INSERT that replaces all other columns of a row whose `key` is there already."""
    statement = _insert(engine, table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in key}
    made: Insert = statement.on_conflict_do_update(index_elements=list(key), set_=changed)
    return made


def insert_or_add(engine: AsyncEngine, table: Table, key: tuple[str, ...]) -> Insert:
    """An INSERT that adds all other columns, numbers, to those of a row whose `key` is there already."""
    statement = _insert(engine, table)
    added = [column for column in table.columns if column.name not in key]
    summed = {column.name: column + statement.excluded[column.name] for column in added}
    made: Insert = statement.on_conflict_do_update(index_elements=list(key), set_=summed)
    return made


@contextlib.asynccontextmanager
async def transaction(engine: AsyncEngine, tenant: str | None = None) -> AsyncIterator[AsyncConnection]:
    """One transaction: committed at the end, rolled back on any error. Raises `StoreError` for what a driver raises,
    `StoreRowError` where trying again would not help. `tenant`: whose rows a reader wants; on PostgreSQL it sees no
    others, and none without it."""
    try:
        async with engine.begin() as connection:
            if tenant is not None and _is_server(engine.url):
                await _postgresql().show(connection, tenant=tenant)
            yield connection
    except (SQLAlchemyError, sqlite3.Error, OSError, OverflowError, UnicodeEncodeError) as error:
        kind = StoreRowError if _is_about_a_row(error) else StoreError
        raise kind(f"the store {shown(engine.url)} failed: {_said(error)}") from error


@contextlib.asynccontextmanager
async def unhurried(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A writer's `transaction` for what may take long, as a migration does: without time-outs."""
    if not _is_server(engine.url):
        async with transaction(engine) as connection:
            yield connection
        return
    # A client's time-out is its connection's: the work is done on another one, and there is only one writer at a time.
    await engine.dispose()
    patient = _postgresql().writer(engine.url, seconds=None)
    try:
        async with transaction(patient) as connection:
            yield connection
    finally:
        await patient.dispose()


def beside(url: URL) -> URL:
    """Where a new store is built that is to take another's place: another file, or another schema of the database."""
    if _is_server(url):
        return url.update_query_dict({_SCHEMA: "gatehouse_rebuilding"})
    return url.set(database=f"{_path(url)}.rebuilding")


async def clear_beside(engine: AsyncEngine, url: URL) -> None:
    """Nothing is built beside `url` any more; `engine` is its writer's. Raises `StoreError`."""
    if _is_server(url):
        await _postgresql().clear(engine, beside(url).query[_SCHEMA])
        return
    try:
        sqlite.remove(_path(beside(url)))
    except OSError as error:
        raise StoreError(f"cannot remove {error.filename}: {error.strerror}") from error


async def take_over(engine: AsyncEngine, url: URL) -> None:
    """What was built beside `url` becomes the store there, at once for whoever reads. `engine`, its writer's, and
    whatever was open on the new one, is given back. Raises `StoreError`, having changed nothing."""
    if _is_server(url):
        await _postgresql().take_over(engine, beside(url).query[_SCHEMA])
        return
    await engine.dispose()
    path = _path(url)
    if not sqlite.empty_log(path, BUSY_SECONDS):
        raise StoreError(f"somebody holds the store {path} open in a long transaction; end that first")
    try:
        sqlite.replace(path, _path(beside(url)))
    except OSError as error:
        raise StoreError(f"cannot replace the store {path}: {error.strerror}") from error


async def used_bytes(engine: AsyncEngine, tables: Iterable[Table]) -> int:
    """What these tables take, with their indexes; free pages, which are used again, not counted.

    SQLite: the whole file. PostgreSQL: an estimate from its statistics, since its files never shrink.
    Raises `StoreError`."""
    if _is_server(engine.url):
        found: int = await _postgresql().used_bytes(engine, tables)
        return found
    async with transaction(engine) as connection:
        return await sqlite.used_bytes(connection)


def sort_by_bytes(connection: Connection) -> None:
    """Text compares byte by byte, whatever the database's language: pages and stretches of calls rely on it.

    SQLite does so by itself; migrations need not say it. To be called where tables have changed."""
    if connection.dialect.name == "postgresql":
        _postgresql().sort_by_bytes(connection)


async def wall_off(connection: AsyncConnection, tables: Iterable[Table], version: str) -> None:
    """Tenants are kept apart by the database as well, where it can do that (`walls`). To be called at every start, by
    whoever owns the tables; `version` is the one that says how new they are."""
    if _is_server(connection.engine.url):
        await _postgresql().wall_off(connection, tables, version)


def _is_about_a_row(error: Exception) -> bool:
    """Whether the database refused a value, and will refuse it again."""
    if isinstance(error, (IntegrityError, DataError, OverflowError, UnicodeEncodeError)):
        return True
    origin = getattr(error, "orig", None)
    # asyncpg: what it cannot encode is a ValueError; what the server refuses has its SQLSTATE.
    state = str(getattr(origin, "sqlstate", None) or "")
    return state[:2] in _REFUSED_VALUES or isinstance(getattr(origin, "__cause__", None), ValueError)


def _said(error: Exception) -> str:
    origin = getattr(error, "orig", None) or error
    cause = origin.__cause__ if origin.__cause__ is not None and origin is not error else origin
    said = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    if isinstance(cause, TimeoutError):
        said = "it did not answer in time"
    # asyncpg repeats the value, which may be anything a caller sent: only the reason behind it is shown.
    if said.startswith("invalid input for query argument"):
        said = f"a value cannot be stored: {_reason(cause)}"
    return said[:200]


def _reason(error: BaseException) -> str:
    """`… $3: <value> (value out of int64 range)` → what stands in the last parentheses."""
    return str(error).rpartition(" (")[2].removesuffix(")")


def _is_server(url: URL) -> bool:
    return url.drivername == _SERVER


def _insert(engine: AsyncEngine, table: Table) -> Any:
    """An INSERT of the database's dialect; both say what to do about a conflict in the same words."""
    return _postgresql().insert(table) if _is_server(engine.url) else sqlite.insert(table)


def _postgresql() -> ModuleType:
    return importlib.import_module("gatehouse.store.postgresql")


def _server(url: URL) -> URL:
    """Raises `ConfigError`."""
    if not url.database:
        raise ConfigError("database.url: name a database, postgresql://user:password@host:5432/database")
    unknown = sorted(set(url.query) - set(_OPTIONS))
    if unknown:
        raise ConfigError(f"database.url: no option is called {unknown[0]}; {', '.join(_OPTIONS)} are")
    if any(not isinstance(value, str) for value in url.query.values()):
        raise ConfigError("database.url: an option is given twice")
    return url.set(drivername=_SERVER)


def _path(url: URL) -> str:
    return str(url.database)
