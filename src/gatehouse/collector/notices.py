"""What the gateway noticed by itself, on its way from the collector's thread to control: `admin` lines of `system`.

Rules: bounded; who is too slow loses the oldest, which are in the store all the same. Told after they are stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from gatehouse.store.rows import AuditRow

KEPT: Final = 10_000


class Notices:
    """Put from one thread, taken from another: each step is one operation of a deque."""

    def __init__(self) -> None:
        self._kept: deque[AuditRow] = deque(maxlen=KEPT)

    def put(self, rows: Iterable[AuditRow]) -> None:
        """What was stored just now."""
        self._kept.extend(row for row in rows if row.actor_kind == "system")

    def take(self) -> list[AuditRow]:
        """What came since the last time, oldest first."""
        found = []
        while self._kept:
            found.append(self._kept.popleft())
        return found
