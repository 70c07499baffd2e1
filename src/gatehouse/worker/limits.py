"""A worker's limits: in its own memory where it is alone, else on the server it shares with others.

Rules: what was counted before comes from the journal, before the first call is accepted; a worker that shares its
limits has nothing to take over, the server knows. Files are read in a thread: the worker answers control meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings
from gatehouse.gateway import counted, openings
from gatehouse.gateway.background import KeptBackground
from gatehouse.journal.writer import JournalWriter
from gatehouse.limits.local import LocalLimits
from gatehouse.limits.shared.background import SharedBackground
from gatehouse.limits.shared.connection import Connection, server
from gatehouse.limits.shared.embedded import address, binary
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.model.snapshot import Snapshot
from gatehouse.pipeline.limited import moment

_MS: Final = 1000


class WorkerLimits:
    """What the worker does with its limits besides asking them."""

    def __init__(self, settings: Settings, data: DataDir, lane: str) -> None:
        """`lane`: the id of the worker's journal lane. Raises `ConfigError` for a wrong `redis.url`."""
        self._data = data
        self._settings = settings
        self._shared: SharedLimits | None = None
        self._local: LocalLimits | None = None
        self._connected = False
        self._early = False
        """Whether there is a server to connect to before there is a limit."""
        url = address(settings, data)
        if url is None:
            self._local = LocalLimits()
        else:
            self._shared = SharedLimits(self._connection(url), lane)
            self._early = settings.redis.url is not None or binary() is not None

    def _connection(self, url: str) -> Connection:
        redis = self._settings.redis
        return Connection(server(url), timeout=redis.timeout_ms / _MS, connect_timeout=redis.connect_ms / _MS)

    @property
    def limits(self) -> LocalLimits | SharedLimits:
        """`ports.Limits`."""
        limits = self._local or self._shared
        assert limits is not None  # noqa: S101 - one of them is
        return limits

    def background(self) -> KeptBackground | SharedBackground:
        """`ports.Background`: where all machines find it that share limits, else on disk."""
        url = self._settings.redis.url
        return KeptBackground(self._data.background) if url is None else SharedBackground(self._connection(url))

    def configure(self, snapshot: Snapshot) -> None:
        """The limits from now on. Nothing is connected to before there are some, or tenants that may get some."""
        self.limits.configure(snapshot.limits, moment())
        wanted = snapshot.limits or (self._early and snapshot.tenants)
        if self._shared is not None and wanted and not self._connected:
            self._connected = True
            self._shared.start()

    async def restore(self, snapshot: Snapshot) -> None:
        """Go on from what was counted before; after `configure`, and before any call.

        Raises `OSError`: then nobody knows what is spent, and the worker must not serve.
        """
        local = self._local
        if local is None:
            return
        found = await asyncio.to_thread(self._counted, snapshot)
        if found is not None:
            local.restore(counted.restored(found), found.rates.counted(), moment())

    def _counted(self, snapshot: Snapshot) -> counted.Counted | None:
        begun = openings.read(self._data.openings)
        if not begun.spent and not snapshot.limits:
            return None
        rates = counted.Rates(snapshot.limits.values(), snapshot.keys, moment().unix)
        found = counted.Counted(begun, rates)
        found.read(self._data.journal)
        return found

    def share(self, snapshot: Snapshot, journal: JournalWriter) -> None:
        """How much of the journal one tenant may fill: without others to suffer by it, as much as there is."""
        options = self._settings.journal
        several = len(snapshot.tenants) > 1
        share = options.max_bytes * options.tenant_share // 100
        journal.shares.most = share // self._settings.server.workers if several else 0

    def sweep(self, journal: JournalWriter) -> None:
        """Twice a second: where a tenant's share of the journal is nearly full, look up how far it is collected."""
        if journal.shares.pressed:
            marks = openings.marks(self._data.openings)
            journal.shares.collected(marks.get(journal.lane, 0))

    async def close(self) -> None:
        """Give back what is shared, after the last call."""
        if self._shared is not None and self._connected:
            await self._shared.close()
