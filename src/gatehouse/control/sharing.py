"""Limits of several workers: control starts the server they share, if it is ours, and gives it back what it lost.

Rules
- Nothing runs before there is a limit or, where there can be a server (`early`), a tenant. From then on a tenant
  whose state the server has not is rebuilt: from the store's ledger, and from what this machine's lanes say behind its
  marks (`limits.shared.rebuilding` has the order). A tenant without a limit is seen to once, so that its first limit
  holds at once.
- A worker's lane is buried once recovery has closed it, read to its end: those seen running, and, for a control process
  that was away meanwhile, those closed lately. One that the server does not know has no effect.
- What fails is said once, and tried again: until then each limit's `when_down` holds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from gatehouse.errors import ConfigError
from gatehouse.gateway.counted import Counted, Key, Rates, Sum, lanes
from gatehouse.gateway.openings import Openings
from gatehouse.journal.files import CLOSED
from gatehouse.limits.shared.connection import Connection, Unanswered
from gatehouse.limits.shared.embedded import EmbeddedValkey
from gatehouse.limits.shared.rebuilding import JOIN_SECONDS, Lane, OnRecord, Rebuilder
from gatehouse.model.limits import Reserved
from gatehouse.model.snapshot import Snapshot
from gatehouse.store import times
from gatehouse.store.engine import StoreError

LOOK_SECONDS: Final = 0.25
BURY_SECONDS: Final = 2.0
LATELY_SECONDS: Final = 3600.0

_FAILURES: Final = (Unanswered, StoreError, ConfigError, OSError, TimeoutError)
_log = logging.getLogger(__name__)


class Sharing:
    """`run` for as long as the process lives."""

    def __init__(
        self,
        journal: Path,
        connection: Callable[[], Connection],
        embedded: EmbeddedValkey | None,
        current: Callable[[], Snapshot | None],
        kept: Callable[[], Awaitable[Openings]],
        *,
        early: bool = False,
    ) -> None:
        """`connection`: makes one to the server. `embedded`: that server, where it is ours. `current`: the snapshot
        that is published. `kept`: what is spent, by the store."""
        self.ready = asyncio.Event()
        """Every tenant's state was there, once."""
        self.trouble: str | None = None
        """Why limits cannot be rebuilt now."""
        self._journal = journal
        self._connect = connection
        self._embedded = embedded
        self._current = current
        self._kept = kept
        self._early = early
        self._prepared: set[str] = set()
        """Tenants whose state was on the server's present run, once."""
        self._run: str | None = None
        """That run."""
        self._limited: set[str] = set()
        """Tenants that had limits at some time: their state lies there, whatever became of the limits."""
        self._seen: set[str] = set()
        """Lanes that ran at some time."""
        self._done: set[str] = set()
        """Closed lanes that need no further look: buried, control's, or of long ago."""
        self._bury_at = 0.0

    @property
    def needed(self) -> bool:
        """Whether anything is limited, or may be at any time."""
        current = self._current()
        return current is not None and bool(current.limits or (self._early and current.tenants))

    async def run(self) -> NoReturn:
        """Wait for limits, then look after them. Main thread only (`EmbeddedValkey.start`)."""
        while not self.needed:  # noqa: ASYNC110 - the snapshot is the publisher's
            await asyncio.sleep(LOOK_SECONDS)
        keeping = await self._start()
        connection = self._connect()
        connection.start()
        await asyncio.sleep(LOOK_SECONDS)  # it has a moment to connect
        rebuilder = Rebuilder(connection)
        try:
            while True:
                try:
                    await self._look(rebuilder, connection.run)
                    self._say(None)
                except _FAILURES as error:
                    self._say(str(error) or "no answer in time")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            if keeping is not None:
                keeping.cancel()
            await connection.close()
            if self._embedded is not None:
                await self._embedded.stop()

    async def _start(self) -> asyncio.Task[None] | None:
        if self._embedded is None:
            return None
        try:
            await self._embedded.start()
        except (ConfigError, OSError) as error:
            self._say(str(error))
        return asyncio.get_running_loop().create_task(self._embedded.keep())

    async def _look(self, rebuilder: Rebuilder, run: str | None) -> None:
        current = self._current()
        tenants = sorted({entry.tenant for entry in current.limits.values()}) if current is not None else []
        self._limited.update(tenants)
        if run != self._run:
            self._run, self._prepared = run, set()
        fresh = current.tenants.keys() - self._prepared if self._early and current is not None else set()
        lost = await rebuilder.lost(sorted(fresh.union(tenants)))
        if lost:
            await self._rebuild(rebuilder, lost)
            await asyncio.sleep(JOIN_SECONDS)  # nothing is admitted before
        self._prepared |= fresh
        self.ready.set()
        now = asyncio.get_running_loop().time()
        if now >= self._bury_at:
            self._bury_at = now + BURY_SECONDS
            await self._bury(rebuilder)

    async def _rebuild(self, rebuilder: Rebuilder, tenants: list[str]) -> None:
        """All of them at once, from one look at the journal: after the last of them is fenced off."""
        looking = _Look(len(tenants), self._counted)

        async def one(tenant: str) -> bool:
            try:
                return await rebuilder.rebuild(tenant, looking.at)
            finally:
                looking.without(tenant)

        found = await asyncio.gather(*map(one, tenants), return_exceptions=True)
        done = found.count(True)
        if done and self.ready.is_set():
            _log.warning("limits: rebuilt from the journal for %d of %d tenants", done, len(tenants))
        for each in found:
            if isinstance(each, BaseException):
                raise each

    async def _counted(self) -> dict[str, OnRecord]:
        """By tenant, what is on record now."""
        current, kept = self._current(), await self._kept()
        assert current is not None  # noqa: S101 - there are limits
        rates = Rates(current.limits.values(), current.keys, times.now())

        def read() -> dict[str, OnRecord]:
            found = Counted(kept, rates, self._running())
            found.read(self._journal)
            return on_record(found)

        return await asyncio.to_thread(read)

    def _running(self) -> list[str]:
        """Lanes of workers that are not known to have ended."""
        return [found.lane for found in lanes(self._journal) if found.closed is None and found.role == "worker"]

    async def _bury(self, rebuilder: Rebuilder) -> None:
        for lane in await asyncio.to_thread(self._ended):
            found = Counted(Openings(), Rates((), {}, times.now()), (lane,))
            await asyncio.to_thread(found.read_lane, self._journal, lane)
            own = _by_tenant(found.lanes[lane])
            for tenant in sorted(self._limited | own.keys()):
                settled = {key: each.settled + each.reserved for key, each in own.get(tenant, {}).items()}
                await rebuilder.bury(tenant, lane, settled)
            self._done.add(lane)

    def _ended(self) -> list[str]:
        """Closed lanes of workers that are not buried yet."""
        ended = []
        lately = time.time() - LATELY_SECONDS
        for found in lanes(self._journal, self._done):
            if found.closed is None:
                self._seen.add(found.lane)
            elif found.role == "worker" and (found.lane in self._seen or self._closed_at(found.lane) > lately):
                ended.append(found.lane)
            else:
                self._done.add(found.lane)
        return ended

    def _closed_at(self, lane: str) -> float:
        return (self._journal / lane / CLOSED).stat().st_mtime

    def _say(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self.trouble:
            _log.warning("limits that workers share: %s", trouble)
        self.trouble = trouble


class _Look:
    """One look at the journal for all who want it, once nobody is still to come."""

    def __init__(self, expected: int, read: Callable[[], Awaitable[dict[str, OnRecord]]]) -> None:
        self._missing = expected
        self._read = read
        self._there: set[str] = set()
        self._complete = asyncio.Event()
        self._reading: asyncio.Future[dict[str, OnRecord]] | None = None

    async def at(self, tenant: str) -> OnRecord:
        self.without(tenant)
        await self._complete.wait()
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        return (await asyncio.shield(self._reading)).get(tenant, OnRecord())

    def without(self, tenant: str) -> None:
        """It does not come any more, or has come."""
        if tenant not in self._there:
            self._there.add(tenant)
            self._missing -= 1
            if not self._missing:
                self._complete.set()


def on_record(counted: Counted) -> dict[str, OnRecord]:
    """Each tenant's ledger, as it is on record: what running workers hold stands with their lanes."""
    running: dict[str, dict[str, Lane]] = {}
    theirs: dict[Key, int] = {}
    for lane, sums in counted.lanes.items():
        for tenant, own in _by_tenant(sums).items():
            running.setdefault(tenant, {})[lane] = Lane(
                {key: each.settled for key, each in own.items()},
                [Reserved(counter, period, each.reserved) for (counter, period), each in own.items() if each.reserved],
            )
        for key, each in sums.items():
            theirs[key] = theirs.get(key, 0) + each.reserved
    spent = {
        tenant: {key: max(0, each.settled + each.reserved - theirs.get(key, 0)) for key, each in sums.items()}
        for tenant, sums in _by_tenant(counted.spent).items()
    }
    recent: dict[str, dict[str, Sequence[tuple[int, int]]]] = {}
    for name, found in counted.rates.counted().items():
        recent.setdefault(_tenant(name), {})[name] = found
    return {
        tenant: OnRecord(spent.get(tenant, {}), running.get(tenant, {}), recent.get(tenant, {}))
        for tenant in spent.keys() | running.keys() | recent.keys()
    }


def _by_tenant(sums: Mapping[Key, Sum]) -> dict[str, dict[Key, Sum]]:
    found: dict[str, dict[Key, Sum]] = {}
    for key, each in sums.items():
        found.setdefault(_tenant(key[0]), {})[key] = each
    return found


def _tenant(counter: str) -> str:
    return counter.partition("/")[0]
