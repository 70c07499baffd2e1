"""The store in a SQLite file: making the file, opening it, putting another in its place.

Rules: `engine` alone uses this, and translates what it raises (`OSError`, `sqlite3.Error`). WAL mode. The one writer
begins with BEGIN IMMEDIATE (a deferred transaction that reads and then writes fails at once when another wrote in
between); readers hold short deferred transactions and cannot write. A file is readable by its owner only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

__all__ = ["PAGE_BYTES", "empty_log", "insert", "reader", "remove", "replace", "used_bytes", "writer"]

PAGE_BYTES: Final = 8192
"""Rows of calls and spans are close to a kilobyte: with 4 KiB pages a fifth more is written."""

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
_READER: Final = ("PRAGMA query_only = ON", "PRAGMA cache_size = -8192", "PRAGMA temp_store = MEMORY")
_COMPANIONS: Final = ("-wal", "-shm")


def writer(path: str, seconds: float, *, durable: bool) -> AsyncEngine:
    """An engine with one writing connection to the file, which is made if it is not there.

    `seconds`: how long it waits for another's transaction. `durable`: a power failure takes nothing that was
    committed, and what is deleted is overwritten.
    """
    _make(path)
    engine = _engine(path, seconds, connections=1)
    _on_connect(engine, (*_WRITER, *_DURABLE) if durable else _WRITER)
    _on_begin(engine, "BEGIN IMMEDIATE")
    return engine


def reader(path: str, seconds: float, *, connections: int) -> AsyncEngine:
    """An engine whose connections can only read."""
    engine = _engine(path, seconds, connections=connections)
    _on_connect(engine, _READER)
    _on_begin(engine, "BEGIN")
    return engine


def remove(path: str) -> None:
    """There is no such file any more, and nothing that belongs to it."""
    _remove(path, ("", *_COMPANIONS))


def replace(path: str, new: str) -> None:
    """`new` takes the place of the file, whose log is empty."""
    # Empty, and yet not to be taken for the new one's.
    _remove(path, _COMPANIONS)
    os.replace(new, path)


def empty_log(path: str, seconds: float) -> bool:
    """Whether what is in the file's log is in the file now, or there is no database in it. `False`: somebody else has
    kept it open in a transaction for `seconds`."""
    with contextlib.closing(sqlite3.connect(path, timeout=seconds)) as connection:
        try:
            [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.DatabaseError:
            # No database: that is why another takes its place.
            return True
    return not busy


async def used_bytes(connection: AsyncConnection) -> int:
    """What the whole file holds; free pages, which are used again, not counted."""
    pages, free, size = [
        int((await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one())
        for name in ("page_count", "freelist_count", "page_size")
    ]
    return (pages - free) * size


def _make(path: str) -> None:
    """Have the file there, and be able to write it."""
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
        remove(made)
    return True


def _remove(path: str, suffixes: tuple[str, ...]) -> None:
    for suffix in suffixes:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _engine(path: str, seconds: float, *, connections: int) -> AsyncEngine:
    return create_async_engine(
        # `rw`: only `writer` makes a file, and with the right mode.
        URL.create("sqlite+aiosqlite", database=f"file:{_quoted(path)}", query={"mode": "rw", "uri": "true"}),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=seconds,
        # Of statements that fail: they may be anybody's text, or a digest.
        hide_parameters=True,
        # Without this the driver begins transactions by itself, and only before the first write.
        connect_args={"isolation_level": None, "timeout": seconds},
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
