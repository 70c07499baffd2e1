"""The collector beside a server: a thread with an event loop of its own, so that nothing it does holds up the server's.

Rules: only `state` and `collected`, which are replaced and never changed, `tally` and `feed`, which have locks,
`notices`, a queue, and `stop` cross between the threads. The thread ends when stopped, or by a bug; who owns it looks
at `alive` and starts afresh.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from gatehouse.collector.collect import Collector
from gatehouse.collector.feed import Feed
from gatehouse.collector.lock import CollectorLock
from gatehouse.collector.notices import Notices
from gatehouse.collector.state import CollectorState
from gatehouse.collector.tally import Tally

_LOCK_SECONDS: Final = 0.1


class CollectorThread:
    """Collects from `start` until `stop`."""

    def __init__(self, collector: Collector, lock: CollectorLock, *, drain_seconds: float) -> None:
        """`drain_seconds`: how long it may go on collecting once it is to stop."""
        self._collector = collector
        self._lock = lock
        self._drain_seconds = drain_seconds
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="collector", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def state(self) -> CollectorState:
        """What the collector last said of itself."""
        return self._collector.state

    @property
    def collected(self) -> dict[str, int]:
        """Per lane the last line that is in the store."""
        return self._collector.collected

    @property
    def tally(self) -> Tally:
        """What it counted."""
        return self._collector.tally

    @property
    def feed(self) -> Feed:
        """Who listens to calls as they end."""
        return self._collector.feed

    @property
    def notices(self) -> Notices:
        """What the gateway noticed by itself."""
        return self._collector.notices

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Return at once; collecting begins when no other process collects."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Ask it to collect to the end of the lanes, and then to end. Returns at once."""
        if self._loop is not None and self._stopping is not None and self.alive:
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self, seconds: float) -> bool:
        """Wait for its end; false if it did not come."""
        self._thread.join(seconds)
        return not self.alive

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        while not self._lock.take():
            try:
                await asyncio.wait_for(self._stopping.wait(), _LOCK_SECONDS)
            except TimeoutError:
                continue
            return
        try:
            await self._collector.run(self._stopping, self._drain_seconds)
        finally:
            await self._collector.aclose()
            self._lock.release()
