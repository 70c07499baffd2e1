"""Where a caller stands by what the server last said, in the header lines of one process (`limits.standing`)."""

from __future__ import annotations

from typing import Final

from gatehouse.limits.calendar import Calendar
from gatehouse.limits.counters import ENDLESS
from gatehouse.limits.shared.course import Line
from gatehouse.limits.shared.holdings import HELD, LOG, RATE, Stake
from gatehouse.model.limits import Window

_SECOND: Final = 1_000_000


def standing(line: Line, calendar: Calendar, unix: int) -> bytes:
    """The lines, as of now, to which the line and the calendar were turned: of several hard limits of one measure the
    one with the least left."""
    said = b""
    for measured in line.measures:
        tightest, least_left = -1, ENDLESS
        for index, stake in enumerate(measured.stakes):
            left = measured.least[index] - stake.used - stake.settled + stake.free
            if left < least_left:
                tightest, least_left = index, left
        if tightest < 0:
            continue
        if least_left < 0:
            least_left = 0
        resets = _resets(measured.stakes[tightest], measured.windows[tightest], calendar, unix)
        head = measured.heads[tightest]
        if resets is None:
            said += b"%b%d\r\n" % (head, least_left)
        else:
            said += b"%b%d%b%d\r\n" % (head, least_left, measured.reset, -(-resets // _SECOND))
    return said


def _resets(stake: Stake, window: Window, calendar: Calendar, unix: int) -> int | None:
    """Microseconds until more may be left."""
    if stake.kind == RATE:
        return stake.width - unix % stake.width
    if stake.kind == LOG:
        return stake.width
    ends = None if stake.kind == HELD else calendar.ends(window)
    return None if ends is None else ends - unix
