"""What a collector says of itself: one frozen value, replaced as it works, read by anybody. Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

_UNHEARD: Final = 1.0
"""Seconds after which a collector that has not looked is taken to be behind."""


class StoppedLane(msgspec.Struct, frozen=True):
    """A lane that is not collected any further, since a line of it does not hold."""

    lane: str
    seq: int
    """The last line collected."""
    reason: str


class CollectorState(msgspec.Struct, frozen=True):
    """Times are microseconds since the epoch."""

    store: Literal["starting", "connected", "unavailable"] = "starting"
    error: str | None = None
    """Why the store is not `connected`."""
    looked: int = 0
    """When the end of every lane was last reached."""
    oldest: int | None = None
    """Time of the oldest line known and not in the store."""
    lines_behind: int = 0
    """Lines known to stand in the journal and not in the store."""
    collected: int = 0
    """Lines collected since the start."""
    unreadable: int = 0
    """Lines left out since the start: their bodies could not be read or stored."""
    last_unreadable: str | None = None
    stopped: tuple[StoppedLane, ...] = ()
    cut: int = 0
    """When calls were last deleted because they took too much."""

    def lag(self, now: int) -> float:
        """Seconds since the oldest line that is not in the store."""
        if self.oldest is not None:
            return max(0.0, (now - self.oldest) / 1e6)
        unheard = (now - self.looked) / 1e6 if self.looked else 0.0
        return unheard if unheard > _UNHEARD else 0.0
