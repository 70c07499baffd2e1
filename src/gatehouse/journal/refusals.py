"""The flood rule: which refusals get a line of their own, and which are counted. Pure: time is passed in.

Nobody needs a key to be refused, so refusals before authentication must not fill the disk: ten a second per error code
get their own line, the rest of that second one `refused_many`. Nor must a key beyond its limits, which is refused as
fast as it can ask: of a tenant 50 a second per code do. Refusals that find the journal full are counted the same way
and written when there is room again. Memory is bounded: codes and tenants are the gateway's own words.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from gatehouse.model.record import Refusal, RefusedMany

PER_SECOND: Final = 10
OF_TENANT: Final = 50
"""Of one tenant's callers, a second."""
SECOND: Final = 1_000_000_000


class _Tally(msgspec.Struct):
    project: str
    reason: str
    count: int
    since: int
    until: int


class FloodGate:
    """Counts one worker's refusals. Times are nanoseconds since the epoch."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str | None, str], tuple[int, int]] = {}
        """Per tenant and code: start of its window, lines written in it."""
        self._tallies: dict[tuple[str, str], _Tally] = {}

    def passes(self, refusal: Refusal, now: int, tenant: str | None = None) -> bool:
        """Whether a refusal gets its own line. `tenant`: of a caller who is known; `None` before authentication."""
        kind = (tenant, _code(refusal))
        start, shown = self._shown.get(kind, (0, 0))
        if not 0 <= now - start < SECOND:
            start, shown = now, 0
        if shown == (PER_SECOND if tenant is None else OF_TENANT):
            return False
        self._shown[kind] = (start, shown + 1)
        return True

    def count(self, tenant: str, refusal: Refusal, now: int) -> None:
        """Count a refusal that gets no line of its own."""
        key = (tenant, _code(refusal))
        tally = self._tallies.get(key)
        if tally is None:
            self._tallies[key] = _Tally(refusal.project, refusal.reason, 1, now, now)
        else:
            tally.count += 1
            tally.until = max(tally.until, now)  # clocks are set back, too

    def due(self, now: int, *, everything: bool = False) -> list[tuple[str, RefusedMany]]:
        """Summaries, each with its tenant, of what has been counted for a second (or at all), taken out."""
        ready = [key for key, tally in self._tallies.items() if everything or not 0 <= now - tally.since < SECOND]
        summaries = []
        for key in ready:
            tally = self._tallies.pop(key)
            tenant, code = key
            summaries.append(
                (
                    tenant,
                    RefusedMany(
                        tally.project, code, tally.reason, tally.count, _stamp(tally.since), _stamp(tally.until)
                    ),
                )
            )
        return summaries


def _code(refusal: Refusal) -> str:
    return refusal.code or refusal.outcome


def _stamp(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"
