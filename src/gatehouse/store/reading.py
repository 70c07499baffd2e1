"""Who reads the store: `open` for the command line, with a server running or not; `Readers` for the server itself, over
`Connections`.

Rules: read only; short transactions, so that a running collector is never held up; always one tenant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine, times, version
from gatehouse.store import explain as explaining
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.audit import Audit
from gatehouse.store.explain import Compared, Explanation, Metric
from gatehouse.store.queries import Queries
from gatehouse.store.report import BY, put_together
from gatehouse.store.sight import Sight
from gatehouse.store.spent import Spent
from gatehouse.store.tally import MOST_KEYS
from gatehouse.store.views import Body, Report, Trace

_PATIENCE_SECONDS: Final = 600.0
"""Of who asks on the command line."""


class Reader:
    """One tenant's calls. Every method raises `StoreError`."""

    def __init__(self, engine: AsyncEngine, tenant: str = "default") -> None:
        sight = Sight(tenant)
        self._queries = Queries(engine, sight)
        self._analytics = Analytics(engine, sight, patience=_PATIENCE_SECONDS)

    async def report(
        self, since: datetime | None = None, until: datetime | None = None, by: Sequence[str] = BY
    ) -> Report:
        """Sums over the calls that began in [since, until), told apart `by` names of `DIMENSIONS`; times without zone
        are UTC. Raises `TooManyError`."""
        asked = Asked(
            since=0 if since is None else times.of(since),
            # Clocks of other machines may be ahead.
            until=times.now() + times.DAY if until is None else times.of(until),
            group_by=tuple(by),
            limit=MOST_KEYS,
        )
        ask = self._analytics
        figures = await ask.usage(asked), await ask.cost(asked), await ask.latency(asked), await ask.errors(asked)
        return put_together(since, until, by, figures)

    async def trace(self, name: str) -> Trace | None:
        """The call with this id, or the newest one with this W3C trace id."""
        return await self._queries.trace(name)

    async def last(self) -> Trace | None:
        """The newest call."""
        return await self._queries.last()

    async def explain(self, metric: Metric, compared: Compared) -> Explanation:
        """Why a figure changed from one window to another."""
        return await explaining.explain(self._analytics, metric, compared, patience=_PATIENCE_SECONDS)

    async def body(self, call: str, side: Literal["request", "response"]) -> Body | None:
        """What was captured of a call's body; `None` if nothing was."""
        return await self._queries.body(call, side)


class Connections:
    """A server's reading connections. They follow the store: a file that was removed and built again is opened anew."""

    def __init__(self, url: URL, *, connections: int = 4, everybody: bool = False) -> None:
        """As `engine.reader`."""
        self._url = url
        self._connections = connections
        self._everybody = everybody
        self._engine: AsyncEngine | None = None
        self._identity: tuple[int, int] | None = None

    async def current(self) -> AsyncEngine:
        """To the store as it is now. Raises `StoreMissingError`."""
        engine.check_present(self._url)
        identity = engine.identity(self._url)
        reading, outdated = self._engine, None
        if reading is None or identity != self._identity:
            # No await in between: of two callers at once, the second finds the first one's.
            outdated = reading
            reading = engine.reader(self._url, connections=self._connections, everybody=self._everybody)
            self._engine, self._identity = reading, identity
        if outdated is not None:
            await outdated.dispose()
        return reading

    async def aclose(self) -> None:
        """Give them back."""
        reading, self._engine = self._engine, None
        if reading is not None:
            await reading.dispose()


class Readers:
    """What a server reads of the store, by who may see what. Every method raises `StoreMissingError`."""

    def __init__(self, url: URL) -> None:
        self._connections = Connections(url)

    async def queries(self, sight: Sight) -> Queries:
        """Questions about single calls."""
        return Queries(await self._connections.current(), sight)

    async def analytics(self, sight: Sight) -> Analytics:
        """Questions about many calls."""
        return Analytics(await self._connections.current(), sight)

    async def audit(self, sight: Sight) -> Audit:
        """Changes of the administrative state."""
        return Audit(await self._connections.current(), sight)

    async def spent(self, sight: Sight) -> Spent:
        """What limits have spent."""
        return Spent(await self._connections.current(), sight)

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._connections.aclose()


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
