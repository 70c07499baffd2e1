"""What counters and the limits on them have in common, and the counters a call passes first: requests, concurrency.

What lives here: `Cap` (a limit as its counter applies it), `Counter`, what is told about it (`Alarm`). What does not:
what calls reserve (`funds`), which counters a call has (`ledger`), how a refusal is worded (`refusals`).

Rules
- A counter belongs to what is limited. Any number of limits stand on it; each call counts once.
- Only hard limits refuse. `least` is the smallest hard cap, so that one comparison settles the ordinary case.
- Thresholds are told once per period: of spend, the calendar's; of all else, W or an hour, whichever is longer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Final

from gatehouse.limits.sliding import LONGEST_LOG, Granules, Log, Window
from gatehouse.model.limits import LimitEntry, LimitEvent
from gatehouse.model.moment import Moment

ENDLESS: Final = 1 << 60
"""More than any cap, and than any time."""

PERCENTS: Final = (50, 80, 100)

LENGTHS: Final = {"minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000}
"""Microseconds of the sliding windows."""

_OWN: Final = ("key", "user")
"""Scopes that one holder has to itself."""
_HOUR: Final = LENGTHS["hour"]
_EXCEEDED: Final = 101


class Notices:
    """Events until somebody takes them. Bounded: the oldest go first."""

    def __init__(self, most: int) -> None:
        self._events: deque[LimitEvent] = deque(maxlen=most)

    def add(self, event: LimitEvent) -> None:
        self._events.append(event)

    def take(self) -> list[LimitEvent]:
        events = list(self._events)
        self._events.clear()
        return events


class Alarm:
    """What has been told of one counter in one period."""

    __slots__ = ("next", "said", "until")

    def __init__(self) -> None:
        self.next = 0
        """The least use at which there may be something to tell."""
        self.said: tuple[tuple[str, int], ...] = ()
        """(limit, percent)"""
        self.until = ENDLESS
        """When that is forgotten, on the steady clock."""


class Cap:
    """One limit as its counter applies it."""

    __slots__ = ("cap", "clamps", "entry", "hard", "share")

    def __init__(self, entry: LimitEntry) -> None:
        self.entry = entry
        self.cap = entry.cap
        self.hard = entry.hard
        self.clamps = entry.at_cap == "clamp"
        self.share = ENDLESS if entry.scope in _OWN else entry.cap * entry.max_reserved_share // 100
        """The most that running calls of one key may hold."""

    def marks(self) -> list[tuple[int, int]]:
        """(use, what to tell then); of several at the same use the highest."""
        marks = {-(-self.cap * percent // 100): percent for percent in PERCENTS}
        marks[self.cap + 1] = _EXCEEDED
        return [(amount, percent) for amount, percent in marks.items() if amount > 0]


class Counter(ABC):
    """Counts for one thing that is limited, by one measure and window."""

    def __init__(self, entry: LimitEntry, notices: Notices) -> None:
        self.name = entry.counter
        self.tenant = entry.tenant
        self.scope = entry.scope
        self.scope_id = entry.scope_id
        self.measure = entry.measure
        self.window = entry.window
        self.caps: tuple[Cap, ...] = ()
        self.least = ENDLESS
        """The smallest hard cap."""
        self.heading = b""
        """How `standing` begins to tell of it; empty: to be made."""
        self.shared = entry.scope not in _OWN
        self._notices = notices
        self._forget = max(LENGTHS.get(entry.window, 0), _HOUR)

    def put(self, entry: LimitEntry, now: Moment) -> None:
        """Put a limit on it, in place of the one with that id."""
        self._change((*(cap for cap in self.caps if cap.entry.id != entry.id), Cap(entry)), entry.id, now)

    def drop(self, limit: str, now: Moment) -> None:
        """Take a limit from it."""
        self._change(tuple(cap for cap in self.caps if cap.entry.id != limit), limit, now)

    def _change(self, caps: tuple[Cap, ...], limit: str, now: Moment) -> None:
        self.caps = caps
        self.least = min([cap.cap for cap in caps if cap.hard], default=ENDLESS)
        self.heading = b""
        for alarm in self._alarms():
            alarm.next = 0
            alarm.said = tuple([said for said in alarm.said if said[0] != limit])
        self._changed(now)

    def _changed(self, now: Moment) -> None:
        """Called when the limits on it have changed."""
        return None

    @abstractmethod
    def _alarms(self) -> list[Alarm]: ...

    @abstractmethod
    def idle(self, now: Moment) -> bool:
        """Whether nothing would be lost with it: nothing counted, nothing held."""

    @abstractmethod
    def used(self, steady: int) -> int:
        """Settled and reserved, in the window or period that a call admitted now counts in."""

    @abstractmethod
    def changes(self, now: Moment) -> int | None:
        """Microseconds until that may shrink by itself; `None`: it does not."""

    def tell(self, alarm: Alarm, used: int, period: str, now: Moment) -> None:
        """Called after use has grown to `alarm.next`, or the time of what was said is over."""
        if now.steady >= alarm.until:
            alarm.said = ()
            alarm.until = ENDLESS
        alarm.next = ENDLESS
        for cap in self.caps:
            for amount, percent in cap.marks():
                if (cap.entry.id, percent) in alarm.said:
                    continue
                if amount <= used:
                    self._say(alarm, cap, percent, used, period, now)
                else:
                    alarm.next = min(alarm.next, amount)

    def hush(self, alarm: Alarm, used: int) -> None:
        """Count as told what this use would lead to."""
        passed = [(cap.entry.id, percent) for cap in self.caps for amount, percent in cap.marks() if amount <= used]
        alarm.said = (*alarm.said, *passed)

    @abstractmethod
    def _today(self, now: Moment) -> tuple[Alarm, int, str]:
        """Of the present period: what was told, what thresholds go by, its name."""

    def refused(self, cap: Cap, now: Moment) -> None:
        """A call was refused for this limit: as good as used up."""
        alarm, used, period = self._today(now)
        if now.steady >= alarm.until:
            self.tell(alarm, used, period, now)
        if (cap.entry.id, 100) not in alarm.said:
            self._say(alarm, cap, 100, used, period, now)

    def _say(self, alarm: Alarm, cap: Cap, percent: int, used: int, period: str, now: Moment) -> None:
        alarm.said = (*alarm.said, (cap.entry.id, percent))
        if self.measure != "spend" and alarm.until == ENDLESS:
            alarm.until = now.steady + self._forget
        self._notices.add(
            LimitEvent(
                kind="exceeded" if percent == _EXCEEDED else "threshold",
                limit=cap.entry.id,
                tenant=self.tenant,
                counter=self.name,
                period=period,
                percent=min(percent, 100),
                used=used,
                cap=cap.cap,
                hard=cap.hard,
                at=now.unix,
            )
        )


class Door(Counter):
    """A counter that each call passes as one."""

    def __init__(self, entry: LimitEntry, notices: Notices) -> None:
        super().__init__(entry, notices)
        self.alarm = Alarm()

    def _alarms(self) -> list[Alarm]:
        return [self.alarm]

    def _today(self, now: Moment) -> tuple[Alarm, int, str]:
        return self.alarm, self.used(now.steady), ""

    @abstractmethod
    def enter(self, steady: int, now: Moment) -> None:
        """Count a call that was found to fit. `steady`: of `now`."""

    @abstractmethod
    def leave(self) -> None:
        """The call is over."""

    @abstractmethod
    def wait(self, cap: int, now: Moment) -> int:
        """Microseconds until one more may fit under `cap`; 0: as soon as a call ends, whenever that is."""


class Requests(Door):
    """Requests within a sliding window. A call that is over stays counted."""

    def __init__(self, entry: LimitEntry, notices: Notices) -> None:
        super().__init__(entry, notices)
        self.sliding: Window = Log(LENGTHS[entry.window])

    def used(self, steady: int) -> int:
        return self.sliding.used(steady)

    def enter(self, steady: int, now: Moment) -> None:
        sliding, alarm = self.sliding, self.alarm
        sliding.add(1, steady)
        used = sliding.used(steady)
        if used >= alarm.next or steady >= alarm.until:
            self.tell(alarm, used, "", now)

    def leave(self) -> None:
        return None

    def changes(self, now: Moment) -> int | None:
        return self.sliding.changes(now.steady)

    def wait(self, cap: int, now: Moment) -> int:
        steady = now.steady
        return self.sliding.frees(self.sliding.used(steady) + 1 - cap, steady)

    def idle(self, now: Moment) -> bool:
        return not self.sliding.used(now.steady)

    def _changed(self, now: Moment) -> None:
        """By a log, exact to the microsecond, while that is long enough; what was counted moves along."""
        wanted: type[Window] = Log if self.least <= LONGEST_LOG else Granules
        if isinstance(self.sliding, wanted):
            return
        steady = now.steady
        self.sliding.used(steady)
        counted = self.sliding.counted()
        self.sliding = Log(self.sliding.length) if wanted is Log else Granules(self.sliding.length)
        self.sliding.used(steady)
        for time, amount in counted:
            self.sliding.add(amount, min(time, steady))

    def restore(self, counted: list[tuple[int, int]], now: Moment) -> None:
        """(steady time, amount), oldest first: before anything else is counted."""
        self.sliding.used(now.steady)
        for time, amount in counted:
            self.sliding.add(amount, min(time, now.steady))


class Concurrency(Door):
    """Calls at a time."""

    def __init__(self, entry: LimitEntry, notices: Notices) -> None:
        super().__init__(entry, notices)
        self.running = 0

    def used(self, steady: int) -> int:
        return self.running

    def enter(self, steady: int, now: Moment) -> None:
        self.running += 1
        alarm = self.alarm
        if self.running >= alarm.next or steady >= alarm.until:
            self.tell(alarm, self.running, "", now)

    def leave(self) -> None:
        self.running -= 1

    def changes(self, now: Moment) -> int | None:
        return None

    def wait(self, cap: int, now: Moment) -> int:
        return 0

    def idle(self, now: Moment) -> bool:
        return not self.running
