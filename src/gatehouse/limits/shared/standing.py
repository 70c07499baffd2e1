"""Where a caller stands by what the server last said, in the header lines of one process (`limits.standing`)."""

from __future__ import annotations

from typing import Final

from gatehouse.limits.calendar import Calendar
from gatehouse.limits.counters import ENDLESS
from gatehouse.limits.shared.course import Line
from gatehouse.limits.shared.holdings import HELD, LOG, RATE
from gatehouse.limits.shared.parts import Part
from gatehouse.limits.standing import NAMES
from gatehouse.model.limits import Moment

_SECOND: Final = 1_000_000


def standing(line: Line, calendar: Calendar, now: Moment) -> bytes:
    """The lines, as of now: of several hard limits of one measure the one with the least left."""
    tightest: dict[str, tuple[int, Part]] = {}
    for parts in (line.doors, line.parts):
        for part in parts:
            stake = part.stake
            left = part.counter.least - stake.used - stake.settled + stake.free
            known = tightest.get(part.counter.measure)
            if part.counter.least != ENDLESS and (known is None or left < known[0]):
                tightest[part.counter.measure] = (left, part)
    said = ""
    for left, part in tightest.values():
        limit, remaining, reset = NAMES[part.counter.measure]
        said += limit + str(part.counter.least) + remaining + str(max(0, left))
        resets = _resets(part, calendar, now)
        if resets is not None:
            said += reset + str(-(-resets // _SECOND))
        said += "\r\n"
    return said.encode()


def _resets(part: Part, calendar: Calendar, now: Moment) -> int | None:
    """Microseconds until more may be left."""
    stake = part.stake
    if stake.kind == RATE:
        return stake.width - now.unix % stake.width
    if stake.kind == LOG:
        return stake.width
    ends = None if stake.kind == HELD else calendar.ends(part.counter.window)
    return None if ends is None else ends - now.unix
