"""`/health`: what is connected, how far the store is behind, what is wrong. Pure.

Rules: made of what the process knows already; it never looks into the store or the journal. Anything but
`healthy` is a 503. Callers elsewhere learn status, version and services only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from gatehouse.collector.state import CollectorState, StoppedLane
from gatehouse.config.loads import JOURNAL_STATES, Gauges

BEHIND_SECONDS: Final = 10.0
"""Lag from which the collector counts as behind."""

JUMP_SECONDS: Final = 60.0
"""From which a clock counts as set, and not as corrected."""

SHORT_SECONDS: Final = 15.0
"""How long after descriptors ran out that is said."""

HUNG_SECONDS: Final = 5.0
"""Without a word from a worker, which says something twice a second, until it is said that it hangs."""

CUT_SECONDS: Final = 86_400.0
"""How long after calls were deleted because they took too much that is said."""

Status = Literal["healthy", "degraded", "unhealthy"]


class CollectorHealth(msgspec.Struct, frozen=True):
    """The way from the journal into the store."""

    lag_seconds: float
    """Age of the oldest line of the journal that is not in the store."""
    lines_behind: int
    collected: int
    """Lines since this process started."""
    unreadable: int
    last_unreadable: str | None
    stopped: list[StoppedLane]
    """Lanes that are collected no further, because a line of them does not hold."""


class JournalHealth(msgspec.Struct, frozen=True):
    """The journal on this machine, as the control process sees it."""

    lane: str
    """The control process's own."""
    state: str
    """`ok`, `full` or `failing`."""
    reason: str | None
    bytes: int
    max_bytes: int
    broken: list[str]
    """Lanes of dead processes that could not be closed."""


class LaneHealth(msgspec.Struct, frozen=True):
    """A lane that is not closed: a running process."""

    lane: str
    role: str | None
    collected_seq: int


class PublicHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What any caller may know."""

    status: Status
    version: str
    services: dict[str, str]


class Health(PublicHealth, frozen=True, kw_only=True):
    """What callers on this machine may know."""

    problems: list[str]
    """Why it is not `healthy`, in sentences."""
    warnings: list[str]
    """What will become a problem."""
    collector: CollectorHealth
    journal: JournalHealth
    lanes: list[LaneHealth]
    clock_jump_seconds: float
    """By how much the system's clock was set forward (or back: negative) since the control process started."""

    def public(self) -> PublicHealth:
        return PublicHealth(status=self.status, version=self.version, services=self.services)


def told_by_worker(health: Health, trouble: str) -> Health:
    """With what the worker that passed the question on says of its own journal (`full no room`): it is the worker's
    lane that new calls need, and control's may have room where that has none."""
    state, _, reason = trouble.partition(" ")
    if health.services["journal"] == state:
        return health
    return msgspec.structs.replace(
        health,
        status="unhealthy",
        services={**health.services, "journal": state},
        problems=[f"a worker's journal is {state}: {reason or 'no reason given'}", *health.problems],
    )


def told_by_workers(health: Health, workers: Mapping[int, Gauges], now: int) -> Health:
    """With what the workers' gauges say: any worker's journal, who hangs, and descriptors that ran out within
    `SHORT_SECONDS`. `now`: nanoseconds on the monotonic clock."""
    journal, problems = health.services["journal"], []
    for index, gauges in workers.items():
        state = JOURNAL_STATES[gauges.journal_state]
        if state != "ok":
            journal = journal if journal in JOURNAL_STATES else state
            problems.append(f"the journal of worker {index} is {state}: it takes no new calls")
    failing = bool(problems)
    problems += [
        f"worker {index} hangs since {(now - gauges.swept) // 1_000_000_000} s: its connections wait, others serve on"
        for index, gauges in workers.items()
        if gauges.swept and now - gauges.swept > HUNG_SECONDS * 1_000_000_000
    ]
    problems += [
        f"worker {index} is out of file descriptors: raise the limit (ulimit -Hn, LimitNOFILE=)"
        for index, gauges in workers.items()
        if gauges.descriptors_denied_at and now - gauges.descriptors_denied_at < SHORT_SECONDS * 1_000_000_000
    ]
    if not problems:
        return health
    return msgspec.structs.replace(
        health,
        status="unhealthy" if failing or health.status == "unhealthy" else "degraded",
        services={**health.services, "journal": journal},
        problems=[*health.problems, *problems],
    )


def told_by_publisher(health: Health, failure: str) -> Health:
    """With why the newest snapshot cannot be published; empty: it is."""
    return _degraded(health, f"the newest keys and accounts are not in force: {failure}") if failure else health


def told_by_directory(health: Health, trouble: str) -> Health:
    """With why the directory cannot be used; empty: it can."""
    return _degraded(health, f"accounts, keys and limits cannot be changed now: {trouble}") if trouble else health


def told_by_limits(health: Health, trouble: str | None) -> Health:
    """With whether limits that workers share can be checked: why not; empty: they can; `None`: nothing is shared."""
    if trouble is None:
        return health
    services = {**health.services, "limits": "unavailable" if trouble else "connected"}
    health = msgspec.structs.replace(health, services=services)
    if not trouble:
        return health
    return _degraded(
        health, f"limits that workers share cannot be checked: their `when_down` holds, `open` or `closed`: {trouble}"
    )


def _degraded(health: Health, problem: str) -> Health:
    return msgspec.structs.replace(
        health,
        status="unhealthy" if health.status == "unhealthy" else "degraded",
        problems=[*health.problems, problem],
    )


def assess(
    version: str,
    collecting: CollectorState,
    now: int,
    journal: JournalHealth,
    lanes: list[LaneHealth],
    *,
    warn: bool,
    clock_jump: float = 0.0,
) -> Health:
    """Put together what is known at `now` (microseconds since the epoch). `clock_jump`: seconds."""
    lag = collecting.lag(now)
    collector = CollectorHealth(
        lag_seconds=round(lag, 3),
        lines_behind=collecting.lines_behind,
        collected=collecting.collected,
        unreadable=collecting.unreadable,
        last_unreadable=collecting.last_unreadable,
        stopped=list(collecting.stopped),
    )
    problems = _problems(collecting, lag, journal)
    warnings = []
    if collecting.unreadable:
        warnings.append(f"{collecting.unreadable} lines of the journal could not be collected")
    if now - collecting.cut < CUT_SECONDS * 1_000_000:
        warnings.append("the store has reached database.max_bytes: calls leave it before database.keep_days are over")
    if warn:
        warnings.append(f"the journal uses {journal.bytes / journal.max_bytes:.0%} of journal.max_bytes")
    if abs(clock_jump) > JUMP_SECONDS:
        where = "forward: the journal deletes nothing by that age before a restart" if clock_jump > 0 else "back"
        warnings.append(f"the system's clock was set {abs(clock_jump):.0f} s {where}")
    return Health(
        status="unhealthy" if journal.state != "ok" else "degraded" if problems else "healthy",
        version=version,
        services={
            "control": "connected",
            "journal": "connected" if journal.state == "ok" else journal.state,
            "collector": "stopped" if collecting.stopped else "behind" if lag > BEHIND_SECONDS else "connected",
            "store": collecting.store,
        },
        problems=problems,
        warnings=warnings,
        collector=collector,
        journal=journal,
        lanes=lanes,
        clock_jump_seconds=round(clock_jump, 3),
    )


def _problems(collecting: CollectorState, lag: float, journal: JournalHealth) -> list[str]:
    problems = list(journal.broken)
    if journal.state != "ok":
        problems.insert(0, f"the journal is {journal.state}: {journal.reason or 'no reason given'}")
    if collecting.error is not None:
        problems.append(collecting.error)
    elif collecting.store == "starting":
        problems.append("the store is not open yet")
    if lag > BEHIND_SECONDS:
        problems.append(f"the store is {lag:.0f} s behind the journal")
    return problems + [f"lane {lane.lane} is collected no further: {lane.reason}" for lane in collecting.stopped]
