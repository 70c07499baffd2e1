"""Who reads the store: `open` for the command line, with a server running or not; `Readers` for the server itself.

Rules: read only; short transactions, so that a running collector is never held up; always one tenant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine, version
from gatehouse.store.analytics import Analytics
from gatehouse.store.queries import Queries
from gatehouse.store.views import Report, Trace


class Reader:
    """One tenant's calls. Every method raises `StoreError`."""

    def __init__(self, engine: AsyncEngine, tenant: str = "default") -> None:
        self._queries = Queries(engine, tenant)

    async def report(self, since: datetime | None = None, until: datetime | None = None) -> Report:
        """Sums over the calls that began in [since, until); times without zone are UTC."""
        return await self._queries.report(since, until)

    async def trace(self, name: str) -> Trace | None:
        """The call with this id, or the newest one with this W3C trace id."""
        return await self._queries.trace(name)

    async def last(self) -> Trace | None:
        """The newest call."""
        return await self._queries.last()


class Readers:
    """A server's reading connections. They follow the store: a file that was removed and built again is opened anew."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine: AsyncEngine | None = None
        self._identity: tuple[int, int] | None = None

    async def queries(self, tenant: str) -> Queries:
        """A tenant's queries on the store as it is now. Raises `StoreMissingError`."""
        return Queries(await self._current(), tenant)

    async def analytics(self, tenant: str) -> Analytics:
        """The same for questions about many calls."""
        return Analytics(await self._current(), tenant)

    async def _current(self) -> AsyncEngine:
        engine.check_present(self._url)
        identity = engine.identity(self._url)
        reading, outdated = self._engine, None
        if reading is None or identity != self._identity:
            # No await in between: of two callers at once, the second finds the first one's.
            outdated, reading = reading, engine.reader(self._url)
            self._engine, self._identity = reading, identity
        if outdated is not None:
            await outdated.dispose()
        return reading

    async def aclose(self) -> None:
        """Give the connections back."""
        reading, self._engine = self._engine, None
        if reading is not None:
            await reading.dispose()


@asynccontextmanager
async def open(data_dir: Path, database_url: str | None = None, *, tenant: str = "default") -> AsyncIterator[Reader]:
    """A reader of the store of a data directory.

    Raises `ConfigError` for a wrong `database_url`, `StoreMissingError` where nothing was stored yet,
    `StoreVersionError` for another release's tables, `StoreError` for a store that cannot be read.
    """
    url = engine.locate(data_dir, database_url)
    engine.check_present(url)
    reading = engine.reader(url, connections=1)
    try:
        await version.check(reading)
        yield Reader(reading, tenant)
    finally:
        await reading.dispose()
