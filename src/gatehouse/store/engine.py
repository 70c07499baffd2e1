"""How the store is reached: addresses, connections, transactions, and everything that differs between databases.

Rules: this file and `postgresql`, which it loads by name where the store is there and nowhere else (it costs 60 ms and
6 MB), are the only ones that know a dialect; for the directory, `directory.access` and `directory.server`. SQLite runs
in WAL mode; its one writer begins with BEGIN IMMEDIATE (a deferred transaction that reads and then writes fails at once
when another wrote in between), readers hold short deferred transactions and cannot write. Errors of drivers are
translated to `StoreError` at this border, and no message names a password or repeats what a row holds.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sqlalchemy import Connection, Insert, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gatehouse.errors import ConfigError

PAGE_BYTES: Final = 8192
"""Rows of calls and spans are close to a kilobyte: with 4 KiB pages a fifth more is written."""

BUSY_SECONDS: Final = 5.0
"""How long one waits for another's transaction, a connection, or the right to write."""
_FIRST: Final = (f"PRAGMA page_size = {PAGE_BYTES}", "PRAGMA journal_mode = WAL")
_WRITER: Final = (
    *_FIRST,
    # The journal is the source of truth: after a power failure what is missing here is collected again.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cache_size = -32768",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 2000",
    f"PRAGMA journal_size_limit = {64 * 1024 * 1024}",
)
_DURABLE: Final = (
    "PRAGMA synchronous = FULL",
    # What is taken out must not stay readable in the file.
    "PRAGMA secure_delete = ON",
)
_SERVER: Final = "postgresql+asyncpg"
_POSTGRESQL: Final = ("postgresql", "postgres", _SERVER)
_OPTIONS: Final = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey")
_EXAMPLES: Final = "sqlite:////var/lib/gatehouse/store.db and postgresql://user:password@host:5432/database"
_COMPANIONS: Final = ("-wal", "-shm")
_SCHEMA: Final = "schema"
"""Where in the database: of addresses made here, never of a configured one."""
_ELSEWHERE: Final = (0, 0)
_REFUSED_VALUES: Final = ("22", "23", "54")
"""Classes of SQLSTATE: data exceptions, broken constraints, values too large (for an index, say)."""
_READER: Final = ("PRAGMA query_only = ON", "PRAGMA cache_size = -8192", "PRAGMA temp_store = MEMORY")


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
        _make(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot open the store {path}: {getattr(error, 'strerror', error)}") from error
    engine = _engine(path, pool_size=1)
    _on_connect(engine, (*_WRITER, *_DURABLE) if durable else _WRITER)
    _on_begin(engine, "BEGIN IMMEDIATE")
    return engine


def reader(url: URL, *, connections: int = 4, everybody: bool = False) -> AsyncEngine:
    """An engine whose connections can only read, in transactions that each see one state of the store.

    PostgreSQL shows the rows of the tenant that a transaction names; `everybody`: of all, named or not.
    """
    if _is_server(url):
        made: AsyncEngine = _postgresql().reader(url, connections, everybody=everybody)
        return made
    engine = _engine(_path(url), pool_size=connections)
    _on_connect(engine, _READER)
    _on_begin(engine, "BEGIN")
    return engine


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
    # The same words in both dialects. The key is named: a conflict of surrogate keys would be a fault, and must show.
    statement: Any = _postgresql().insert(table) if _is_server(engine.url) else sqlite.insert(table)
    unique = [index.columns for index in table.indexes if index.unique] or [table.primary_key.columns]
    made: Insert = statement.on_conflict_do_nothing(index_elements=list(unique[0]))
    return made


def insert_or_update(engine: AsyncEngine, table: Table, key: tuple[str, ...]) -> Insert:
    """An INSERT that replaces all other columns of a row whose `key` is there already."""
    statement: Any = _postgresql().insert(table) if _is_server(engine.url) else sqlite.insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in key}
    made: Insert = statement.on_conflict_do_update(index_elements=list(key), set_=changed)
    return made


def insert_or_add(engine: AsyncEngine, table: Table, key: tuple[str, ...]) -> Insert:
    """An INSERT that adds all other columns, numbers, to those of a row whose `key` is there already."""
    statement: Any = _postgresql().insert(table) if _is_server(engine.url) else sqlite.insert(table)
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
        _remove(_path(beside(url)), ("", *_COMPANIONS))
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
    _empty_log(path)
    try:
        # Empty, and yet not to be taken for the new one's.
        _remove(path, _COMPANIONS)
        os.replace(_path(beside(url)), path)
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
        pages = [
            int((await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one())
            for name in ("page_count", "freelist_count", "page_size")
        ]
    return (pages[0] - pages[1]) * pages[2]


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


def _make(path: str) -> None:
    """Have the file there, and be able to write it. Raises `OSError`, `sqlite3.Error`."""
    if not os.path.exists(path) and _is_new(path):
        # Left by a store that was removed without them: SQLite would take them for the new one's.
        _remove(path, _COMPANIONS)
        return
    # Not by opening it: closing it again would take the locks of every connection that this process has to it
    # (fcntl(2)), and another's last connection would then throw the log away while ours still write to it.
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _is_new(path: str) -> bool:
    """Make the file; `False`: somebody else just did. It is in WAL mode from its first byte: of several who open an
    empty one at once, SQLite lets one change its mode and tells the others, without waiting, that it is locked."""
    made = f"{path}.{os.getpid()}-{threading.get_ident()}.new"
    try:
        os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(made)) as connection:
            for pragma in _FIRST:
                connection.execute(pragma)
        os.link(made, path)
    except FileExistsError:
        return False
    finally:
        _remove(made, ("", *_COMPANIONS))
    return True


def _remove(path: str, suffixes: tuple[str, ...]) -> None:
    for suffix in suffixes:
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
        pool_timeout=BUSY_SECONDS,
        # Of statements that fail: they may be anybody's text, or a digest.
        hide_parameters=True,
        # Without this the driver begins transactions by itself, and only before the first write.
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS},
    )


def _empty_log(path: str) -> None:
    """The log of a store is in its file, or there is no store in it. Raises `StoreError`."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        try:
            [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.DatabaseError:
            # No database: that is why another takes its place.
            return
    if busy:
        raise StoreError(f"somebody holds the store {path} open in a long transaction; end that first")


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
