"""How near this process is to its limit of open files (RLIMIT_NOFILE), and who must stand back when it is near.

The system gives out the lowest number that is free: the number of a new descriptor tells whether few are left, and
nothing has to be counted. Some are kept back in two steps. New clients stop first, so that the calls there are can
still reach their providers; connections to providers stop next, so that the journal can still begin a segment.
"""

from __future__ import annotations

import errno
import resource
import time
from typing import Final

EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE))
"""What a system call fails with that finds no descriptor, of this process or of the machine."""

_KEPT_MOST: Final = 64
_KEPT_PART: Final = 8
"""An eighth is kept back, at most 64."""


class Descriptors:
    """The limit as it was at the start, and how often it was in the way."""

    def __init__(self, limit: int | None = None) -> None:
        """`limit`: RLIMIT_NOFILE, unless given."""
        if limit is None:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = limit if limit != resource.RLIM_INFINITY else None
        self.denied = 0
        """Connections that were turned away or not made for want of descriptors."""
        self.denied_at = 0
        """When that last happened: nanoseconds on the monotonic clock; 0: never."""

    @property
    def clients(self) -> int | None:
        """Connections of clients that leave a descriptor for each one's provider; `None`: no limit."""
        return None if self.limit is None else max(1, (self.limit - 2 * self._kept(self.limit)) // 2)

    def short_for_client(self, descriptor: int) -> bool:
        """Whether a client's new connection has a descriptor that is kept back."""
        limit = self.limit
        return limit is not None and descriptor >= limit - self._kept(limit)

    def short_for_provider(self, descriptor: int) -> bool:
        """The same of a connection to a provider."""
        limit = self.limit
        return limit is not None and descriptor >= limit - self._kept(limit) // 2

    def deny(self) -> None:
        """A connection was turned away, or not made."""
        self.denied += 1
        self.denied_at = time.monotonic_ns()

    @staticmethod
    def _kept(limit: int) -> int:
        return min(_KEPT_MOST, limit // _KEPT_PART)
