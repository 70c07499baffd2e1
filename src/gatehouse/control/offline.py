"""The management API where no gateway runs: the same application, in the process of the command that asks.

Rules: the data directory is the caller's (its lock is held). What changes goes on record as ever: into a lane of its
own, made at the first line. There are no workers to tell, but those of the next start begin by the snapshot on disk:
what was changed is in it when `running` ends. The one caller is the operator, by a local token of this process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec
from starlette.types import ASGIApp

from gatehouse import __version__
from gatehouse.collector import catch_up
from gatehouse.collector.feed import Feed
from gatehouse.collector.state import CollectorState
from gatehouse.collector.tally import Tally
from gatehouse.config.loads import Loads
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings
from gatehouse.control import app, doors, health
from gatehouse.control.administration import Administration, Engines, Means
from gatehouse.control.callout import Callout
from gatehouse.control.health import Health, JournalHealth
from gatehouse.control.publishing import Publisher
from gatehouse.control.sealing import MasterKeys
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.ports import Written
from gatehouse.store import engine, times
from gatehouse.store.directory import access
from gatehouse.store.reading import Readers

_TOKEN_BYTES: Final = 32


class Offline:
    """The management API over a data directory that is this process's own."""

    def __init__(
        self,
        data: DataDir,
        settings: Settings,
        providers: Mapping[str, ProviderEntry],
        address: str,
        environ: Mapping[str, str],
    ) -> None:
        """In the main thread, before there is an event loop. `address`: the gateway's URL, as its callers know it.

        Raises `ConfigError`."""
        self.data = data
        self.token = os.urandom(_TOKEN_BYTES)
        """The local token it takes."""
        self._settings = settings
        self._environ = environ
        self._store = engine.locate(data.root, settings.database.url)
        self._directory = access.located(self._store)
        vault = MasterKeys(settings.secrets, data, environ).vault(self._directory)
        self._means = Means(vault, providers, Callout(settings.callouts), address, settings.server.public_url)

    @asynccontextmanager
    async def running(self, *, records: bool = False) -> AsyncIterator[ASGIApp]:
        """The application. `records`: what the journal holds is asked for, so it is collected first.

        Raises `StoreError`, `ConfigError`, `OSError`."""
        if records:
            await catch_up(self.data.root, self._settings)
        async with AsyncExitStack() as stack:
            journal = _Journal(self.data, self._settings)
            stack.callback(journal.close)
            engines = Engines(self._directory)
            stack.push_async_callback(engines.aclose)
            readers = Readers(self._store)
            stack.push_async_callback(readers.aclose)
            loads = Loads.create(1)
            stack.callback(os.close, loads.fd)
            publishing = _AtTheEnd(Publisher(self.data.snapshot, self._settings, loads, engines.sections))
            stack.push_async_callback(publishing.finish)
            administration = Administration(engines, journal, publishing, self._means)
            await administration.open()
            opened = doors.opened(administration, self.data, self._settings, self._environ, local_token=self.token)
            yield app.create(readers, self._health, tally=Tally(), feed=Feed(), loads=loads, doors=opened)

    def _health(self) -> Health:
        """Nothing runs, and nothing is behind."""
        journal = JournalHealth("", "ok", None, 0, self._settings.journal.max_bytes, [])
        return health.assess(__version__, CollectorState(), times.now(), journal, [], warn=False)


class _AtTheEnd:
    """Publishing (`administration.Publishes`) where nobody listens: the snapshot on disk, once, when all is done."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._wanted = False

    async def publish(self, _cut: tuple[str, ...] = ()) -> int:
        self._wanted = True
        return 0

    async def published(self, _version: int) -> None:
        """No worker is behind."""

    async def finish(self) -> None:
        """Raises `StoreError`, `OSError`."""
        if self._wanted:
            await self._publisher.persist()


class _Journal:
    """A lane that begins with its first line."""

    def __init__(self, data: DataDir, settings: Settings) -> None:
        self._data = data
        self._settings = settings
        self._writer: JournalWriter | None = None

    def append(self, kind: str, body: msgspec.Struct, tenant: str = "", *, written: Written | None = None) -> None:
        """As `JournalWriter.append`. Raises `OSError` where the lane cannot be made."""
        if self._writer is None:
            loop = asyncio.get_running_loop()
            writer = JournalWriter(self._data.journal, "control", self._settings.journal, loop)
            writer.open()
            self._writer = writer
        self._writer.append(kind, body, tenant, written=written)

    def close(self) -> None:
        """Write what waits, and the lane's last line."""
        if self._writer is not None:
            self._writer.close()
