"""Who listens to calls as they end: the collector says which calls are whole in the store now, listeners take them.

Rules
- A channel belongs to one tenant, and so do its listeners and the numbers that name its events (I6): from those nobody
  can tell how much others do.
- Memory is bounded: a channel keeps the ids of its last `KEPT` calls, once for all listeners. Who falls further behind
  is told how many it missed and goes on from now. There are at most `LISTENERS`.
- Without listeners nothing is kept and nothing costs. A channel outlives its last listener by `LINGER_SECONDS`, so that
  one that comes back goes on where it was.
- The collector's thread publishes, a loop's listeners take: all under one lock, held for microseconds. Listeners are
  woken after it is let go.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from gatehouse.polite import politely

KEPT: Final = 20_000
LISTENERS: Final = 32
LINGER_SECONDS: Final = 60.0
_NUMBER: Final = re.compile("[0-9]{1,24}", re.ASCII)


class TooManyListenersError(Exception):
    """There is no room for one more."""


class Taken(NamedTuple):
    """What a listener gets."""

    calls: list[str]
    """Their ids, in the order in which they ended."""
    missed: int | None
    """Calls that were left out before these; `None`: it cannot be told, and there may be some."""


class _Channel:
    """The calls of one tenant that ended lately."""

    def __init__(self, kept: int) -> None:
        self._calls: list[str] = []
        """A ring, once it is full."""
        self._kept = kept
        self.first = self.total = time.time_ns()
        """Numbers of the first call and of the next one. Not those of a channel that was forgotten."""
        self.listeners: set[Listener] = set()
        self.left_at = 0.0

    @property
    def oldest(self) -> int:
        """The number of the oldest call that is kept."""
        return self.total - len(self._calls)

    def append(self, call: str) -> None:
        if len(self._calls) < self._kept:
            self._calls.append(call)
        else:
            self._calls[(self.total - self.first) % self._kept] = call
        self.total += 1

    def between(self, start: int, end: int) -> list[str]:
        """Calls by their numbers, which are kept."""
        return [self._calls[(number - self.first) % self._kept] for number in range(start, end)]


class Feed:
    """All channels of one collector."""

    def __init__(self, *, kept: int = KEPT, listeners: int = LISTENERS, linger: float = LINGER_SECONDS) -> None:
        self._lock = threading.Lock()
        self._channels: dict[str, _Channel] = {}
        self._epoch = secrets.token_hex(6)
        """Numbers of another process, or of a channel that was forgotten, mean nothing here."""
        self._kept = kept
        self._most = listeners
        self._linger = linger
        self.closed = False

    def publish(self, whole: Iterable[tuple[str, str]]) -> None:
        """Tenants and their calls that ended, from the collector's thread. Looks at none of them without listeners."""
        if not self._channels:
            return
        calls = list(politely(whole))
        woken: set[Listener] = set()
        with self._lock:
            self._forget()
            for tenant, call in calls:
                channel = self._channels.get(tenant)
                if channel is not None:
                    channel.append(call)
                    woken |= channel.listeners
        for listener in woken:
            listener.wake()

    def listen(self, tenant: str, wake: Callable[[], None], after: str | None = None) -> Listener:
        """Calls of one tenant from now on, or from what comes after the event named `after`.

        `wake` is called from the collector's thread when there is something to take. Raises `TooManyListenersError`.
        """
        with self._lock:
            self._forget()
            if sum(len(channel.listeners) for channel in self._channels.values()) >= self._most:
                raise TooManyListenersError
            channel = self._channels.get(tenant)
            if channel is None:
                channel = self._channels[tenant] = _Channel(self._kept)
            listener = Listener(self._lock, channel, self._epoch, wake)
            if after is not None:
                listener.resume(after)
            channel.listeners.add(listener)
            return listener

    def close(self) -> None:
        """Wake everybody: nothing more will come."""
        self.closed = True
        with self._lock:
            woken = [listener for channel in self._channels.values() for listener in channel.listeners]
        for listener in woken:
            listener.wake()

    def _forget(self) -> None:
        now = time.monotonic()
        for tenant, channel in list(self._channels.items()):
            if not channel.listeners and now - channel.left_at > self._linger:
                del self._channels[tenant]


class Listener:
    """One who listens. `take` and `close` it."""

    def __init__(self, lock: threading.Lock, channel: _Channel, epoch: str, wake: Callable[[], None]) -> None:
        self._lock = lock
        self._channel = channel
        self._epoch = epoch
        self._at = channel.total
        """The number of the next call to take."""
        self._lost = False
        self.wake = wake

    @property
    def place(self) -> str:
        """What names all that was taken, to `resume` after it."""
        return self.place_before(0)

    def place_before(self, calls: int) -> str:
        """The same without the last so many."""
        return f"{self._epoch}-{self._at - calls}"

    def resume(self, after: str) -> None:
        """Go on after a `place`, if it is of this channel and known."""
        epoch, _, number = after.partition("-")
        known = epoch == self._epoch and _NUMBER.fullmatch(number) is not None
        if known and self._channel.first <= int(number) <= self._channel.total:
            self._at = int(number)
        else:
            self._lost = True

    def take(self, most: int) -> Taken:
        """The next calls, `most` at most. None where there are none."""
        with self._lock:
            channel = self._channel
            missed: int | None = 0
            if self._lost:
                self._lost, missed = False, None
            elif self._at < channel.oldest:
                missed = channel.total - self._at
                self._at = channel.total
            until = min(self._at + most, channel.total)
            calls = channel.between(self._at, until)
            self._at = until
        return Taken(calls, missed)

    def close(self) -> None:
        """Nothing more is wanted."""
        with self._lock:
            self._channel.listeners.discard(self)
            self._channel.left_at = time.monotonic()
