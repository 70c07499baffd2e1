"""Keeps the short-lived secrets of credentials fresh: fetched ahead of time, again and again, off the hot path.

Rules: one task, and so one request at a time, per credential; a new one is asked for when three quarters of the old
one's life are gone, with jitter, so that a restart does not ask for all at once ever after; failures are tried again
after growing pauses, while the old one serves on; what was fetched goes to `keep`, which seals and stores it, and
counts as fetched only then. Nothing here is written to a log: `health` says how each credential is.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal, NamedTuple, NoReturn

from gatehouse.auth.secrets import AwsKeys, Source, Token
from gatehouse.control.exchange import ExchangeError

LONGEST_PAUSE: Final = 300.0
LEAST_PAUSE: Final = 30.0
"""After a success: also a token that lives for seconds is not asked for all the time."""

_EARLY: Final = 0.7
_SPREAD: Final = 0.1
_FINE: Final = 1 << 20

Fetch = Callable[[str, Source], Awaitable[Token | AwsKeys]]
"""(credential id, its source) → what requests are made with. Raises `ExchangeError`."""

Keep = Callable[[str, Token | AwsKeys], Awaitable[None]]
"""Seals and stores for a credential. Raises `ExchangeError` where it could not; it is then fetched again."""


class Watched(NamedTuple):
    """A credential to keep fresh. `expires`: of what is stored for it, Unix seconds; 0: nothing is."""

    source: Source
    expires: int = 0


class Health(NamedTuple):
    """How a credential is. Times in Unix seconds."""

    state: Literal["waiting", "ok", "failing"]
    """`waiting`: not tried yet since the start."""
    since: int
    expires: int
    """Of what serves now; 0: nothing does."""
    failures: int = 0
    """In a row."""
    why: str = ""
    """The last failure, without a secret."""


def refresh_pause(remaining: float, jitter: float) -> float:
    """Seconds until a new one is asked for, where the old one has `remaining` left. `jitter`: from 0 to 1."""
    return max(0.0, remaining * (_EARLY + _SPREAD * jitter))


def retry_pause(failures: int, jitter: float) -> float:
    """Seconds to wait after this many failures in a row, at most `LONGEST_PAUSE`."""
    return min(LONGEST_PAUSE, 2.0 ** min(failures, 16)) * (0.5 + 0.5 * jitter)


def _random() -> float:
    return secrets.randbelow(_FINE) / _FINE


class Tokens:
    """Looks after all credentials that need it. `run` is its life."""

    def __init__(
        self,
        fetch: Fetch,
        keep: Keep,
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = _random,
    ) -> None:
        self._fetch = fetch
        self._keep = keep
        self._now = now
        self._jitter = jitter
        self._watches: dict[str, _Watch] = {}
        self._group: asyncio.TaskGroup | None = None

    def watch(self, wanted: Mapping[str, Watched]) -> None:
        """From now on exactly these, by credential id. Whose source is as before goes on as it is."""
        for credential in [each for each in self._watches if each not in wanted]:
            self._watches.pop(credential).stop()
        for credential, watched in wanted.items():
            known = self._watches.get(credential)
            if known is not None and known.source == watched.source:
                continue
            if known is not None:
                known.stop()
            watch = self._watches[credential] = _Watch(credential, watched, int(self._now()))
            if self._group is not None:
                watch.task = self._group.create_task(self._look_after(watch))

    def health(self) -> dict[str, Health]:
        """How each credential is, by its id."""
        return {credential: watch.health for credential, watch in self._watches.items()}

    async def run(self) -> NoReturn:
        """Until cancelled. Raises what only a bug in `fetch` or `keep` raises."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for watch in self._watches.values():
                    watch.task = group.create_task(self._look_after(watch))
                await asyncio.Event().wait()
            finally:
                self._group = None
        raise AssertionError("an event that nobody sets was set")

    async def _look_after(self, watch: _Watch) -> None:
        pause = refresh_pause(watch.health.expires - self._now(), self._jitter())
        while True:
            await asyncio.sleep(pause)
            watch.health = await self._attempt(watch)
            if watch.health.failures:
                pause = retry_pause(watch.health.failures, self._jitter())
            else:
                pause = max(LEAST_PAUSE, refresh_pause(watch.health.expires - self._now(), self._jitter()))

    async def _attempt(self, watch: _Watch) -> Health:
        before = watch.health
        try:
            fetched = await self._fetch(watch.credential, watch.source)
            await self._keep(watch.credential, fetched)
        except ExchangeError as error:
            since = before.since if before.state == "failing" else int(self._now())
            return Health("failing", since, before.expires, before.failures + 1, str(error))
        since = before.since if before.state == "ok" else int(self._now())
        return Health("ok", since, fetched.expires)


class _Watch:
    """One credential's state."""

    __slots__ = ("credential", "health", "source", "task")

    def __init__(self, credential: str, watched: Watched, now: int) -> None:
        self.credential = credential
        self.source = watched.source
        self.health = Health("waiting", now, watched.expires)
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """It is no longer looked after."""
        if self.task is not None:
            self.task.cancel()
