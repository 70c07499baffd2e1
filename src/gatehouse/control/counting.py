"""Control's part in limits: what they have spent is kept on disk, and the server that workers share looked after.

Rules: wiring only; `openings` and `sharing` say how. With one worker and no `redis.url` nothing is shared.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings
from gatehouse.control.openings import KeptOpenings
from gatehouse.control.publishing import Publisher
from gatehouse.control.sharing import Sharing
from gatehouse.gateway import persisted
from gatehouse.limits.shared import embedded
from gatehouse.limits.shared.connection import Connection, server
from gatehouse.limits.shared.embedded import EmbeddedValkey, address

READY_SECONDS: Final = 8.0
"""How long a start waits for limits that are shared."""

_MS: Final = 1000
_LOOK_SECONDS: Final = 0.02


class Counting:
    """The objects of one process."""

    def __init__(self, settings: Settings, data: DataDir, url: URL, publisher: Publisher, program: Path | None) -> None:
        """`url`: of the store. `program`: `embedded.binary`'s.

        Raises `ConfigError` for a wrong `redis.url`, and for hard limits that several workers cannot share anywhere.
        """
        self._kept = KeptOpenings(data.openings, url)
        self._publisher = publisher
        self._sharing: Sharing | None = None
        self._homeless = False
        """There is no server to share limits on."""
        shared = address(settings, data)
        if shared is not None:
            at, redis = server(shared), settings.redis
            seconds = max(1.0, redis.timeout_ms / _MS)  # no call waits here
            if redis.url is None and program is None and _capped(data):
                embedded.url(settings, data, program)
            self._homeless = redis.url is None and program is None
            self._sharing = Sharing(
                data.journal,
                lambda: Connection(at, timeout=seconds, connect_timeout=redis.connect_ms / _MS),
                EmbeddedValkey(data, program) if program is not None and redis.url is None else None,
                lambda: publisher.current,
                self._kept.latest,
                early=program is not None or redis.url is not None,
            )

    def start(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """What runs until it is cancelled."""
        tasks: list[asyncio.Task[None]] = [group.create_task(self._kept.keep())]
        if self._sharing is not None:
            tasks.append(group.create_task(self._sharing.run()))
        return tasks

    @property
    def trouble(self) -> str | None:
        """Why limits that workers share cannot be checked now; empty: they can. `None`: nothing is shared."""
        if self._sharing is None or not self._sharing.needed:
            return None
        if self._homeless:
            return f"there is no server to share them on: {embedded.REMEDY}"
        return self._sharing.trouble or ("" if self._sharing.ready.is_set() else "what they have counted is looked up")

    async def ready(self) -> None:
        """Returns when shared limits, if there are any, hold; or after `READY_SECONDS`."""
        if self._sharing is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shared(self._sharing), READY_SECONDS)

    async def _shared(self, sharing: Sharing) -> None:
        while self._publisher.current is None:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(_LOOK_SECONDS)
        if sharing.needed:
            await sharing.ready.wait()

    async def finish(self) -> None:
        """Keep what is spent in the end; once the collector has."""
        await self._kept.write()
        await self._kept.aclose()


def _capped(data: DataDir) -> bool:
    """Whether the last snapshot has a hard limit."""
    try:
        last = persisted.read(data.snapshot)
    except (OSError, persisted.DamagedError):
        return False
    return last is not None and any(entry.hard for entry in last.limits.values())
