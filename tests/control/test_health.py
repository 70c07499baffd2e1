"""`/health`: what it says, to whom, and that it costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatehouse.collector.state import CollectorState, StoppedLane
from gatehouse.config.loads import JOURNAL_STATES, Gauges
from gatehouse.control.health import (
    Health,
    LaneHealth,
    assess,
    told_by_directory,
    told_by_limits,
    told_by_publisher,
    told_by_worker,
    told_by_workers,
)
from tests.control.serving import JOURNAL, api, well
from tests.store.samples import START

SECOND = 1_000_000
QUIET = Gauges(*[0] * len(Gauges._fields))
FINE = CollectorState(store="connected", looked=START)


def _assess(*, now: int = START, journal: dict[str, Any] | None = None, warn: bool = False, **state: Any) -> Health:
    changed = msgspec.structs.replace(JOURNAL, **(journal or {}))
    return assess("1.2.3", msgspec.structs.replace(FINE, **state), now, changed, [], warn=warn)


def test_all_is_well() -> None:
    """T12."""
    health = assess("1.2.3", FINE, START, JOURNAL, [LaneHealth("l", "worker", 7)], warn=False)
    assert (health.status, health.version, health.problems, health.warnings) == ("healthy", "1.2.3", [], [])
    assert set(health.services.values()) == {"connected"}
    assert health.collector.lag_seconds == 0
    assert health.lanes == [LaneHealth("l", "worker", 7)]


@pytest.mark.parametrize(
    ("wrong", "status", "service", "says"),
    [
        ({"store": "unavailable", "error": "the store x failed: y"}, "degraded", ("store", "unavailable"), "failed: y"),
        ({"store": "starting"}, "degraded", ("store", "starting"), "not open yet"),
        ({"error": "the journal cannot be read: z"}, "degraded", ("store", "connected"), "cannot be read"),
        ({"oldest": START - 60 * SECOND}, "degraded", ("collector", "behind"), "60 s behind"),
        ({"looked": START - 60 * SECOND}, "degraded", ("collector", "behind"), "60 s behind"),
        ({"stopped": (StoppedLane("l", 3, "bad"),)}, "degraded", ("collector", "stopped"), "no further: bad"),
        ({"journal": {"broken": ["f:1: bad"]}}, "degraded", ("journal", "connected"), "f:1: bad"),
        ({"journal": {"state": "full", "reason": "no room"}}, "unhealthy", ("journal", "full"), "full: no room"),
        ({"journal": {"state": "failing"}}, "unhealthy", ("journal", "failing"), "no reason given"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, Any], status: str, service: tuple[str, str], says: str) -> None:
    """I7."""
    health = _assess(**wrong)
    assert health.status == status
    assert health.services[service[0]] == service[1]
    assert any(says in problem for problem in health.problems)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (told_by_publisher, "the newest keys and accounts are not in force"),
        (told_by_directory, "accounts, keys and limits cannot be changed now"),
    ],
)
def test_what_administration_cannot_do_is_said(told: Callable[[Health, str], Health], says: str) -> None:
    """I7."""
    assert told(_assess(), "") == _assess()
    health = told(_assess(), "no space left")
    assert (health.status, health.problems) == ("degraded", [f"{says}: no space left"])
    assert told(_assess(journal={"state": "full"}), "no space left").status == "unhealthy"


def test_limits_that_cannot_be_checked_are_said() -> None:
    """I7."""
    assert told_by_limits(_assess(), None) == _assess(), "nothing is shared"
    fine = told_by_limits(_assess(), "")
    assert (fine.status, fine.services["limits"], fine.problems) == ("healthy", "connected", [])
    health = told_by_limits(_assess(), "no answer in time")
    assert (health.status, health.services["limits"]) == ("degraded", "unavailable")
    assert "no answer in time" in health.problems[0] and "when_down" in health.problems[0]
    assert told_by_limits(_assess(journal={"state": "full"}), "x").status == "unhealthy"


def test_a_little_lag_is_no_problem_but_shown() -> None:
    health = _assess(oldest=START - 2 * SECOND, lines_behind=77)
    assert health.status == "healthy"
    assert (health.collector.lag_seconds, health.collector.lines_behind) == (2.0, 77)


def test_a_worker_knows_of_its_own_journal_first() -> None:
    """I7: a full disk refuses calls before control, which writes little, finds no room."""
    told = told_by_worker(well(), "full the disk that holds the journal is full")
    assert (told.status, told.services["journal"]) == ("unhealthy", "full")
    assert told.problems == ["a worker's journal is full: the disk that holds the journal is full"]
    assert told_by_worker(told, "full as control says, too").problems == told.problems


def test_any_workers_journal_counts_and_not_only_that_of_the_one_who_asks() -> None:
    """I7."""
    full = QUIET._replace(swept=1, journal_state=JOURNAL_STATES.index("full"))
    told = told_by_workers(well(), {0: QUIET, 1: full}, now=1)
    assert (told.status, told.services["journal"]) == ("unhealthy", "full")
    assert told.problems == ["the journal of worker 1 is full: it takes no new calls"]
    assert told_by_workers(well(), {0: QUIET, 1: QUIET}, now=1) == well()


def test_descriptors_that_ran_out_are_told_for_a_while() -> None:
    """I7."""
    short = QUIET._replace(swept=1, descriptors_denied=3, descriptors_denied_at=1_000_000_000)
    told = told_by_workers(well(), {0: short}, now=2_000_000_000)
    assert (told.status, told.services["journal"]) == ("degraded", "connected")
    assert len(told.problems) == 1
    assert "worker 0 is out of file descriptors" in told.problems[0]
    assert told_by_workers(well(), {0: short._replace(swept=60_000_000_000)}, now=60_000_000_000) == well()


def test_a_worker_that_hangs_is_told() -> None:
    """I7: what it has accepted waits, while whoever asks another worker would hear that all is well."""
    hung = QUIET._replace(swept=1_000_000_000)
    told = told_by_workers(well(), {0: QUIET._replace(swept=8_000_000_000), 1: hung}, now=8_400_000_000)
    assert told.status == "degraded"
    assert told.problems == ["worker 1 hangs since 7 s: its connections wait, others serve on"]
    assert told_by_workers(well(), {1: hung}, now=5_900_000_000) == well()


@pytest.mark.parametrize(("jump", "says"), [(7200.0, "7200 s forward: "), (-60.5, "60 s back"), (59.0, None)])
def test_a_clock_that_was_set_is_told(jump: float, says: str | None) -> None:
    health = assess("1.2.3", FINE, START, JOURNAL, [], warn=False, clock_jump=jump)
    assert health.status == "healthy"
    assert health.clock_jump_seconds == jump
    assert (
        ["clock was set " + says in warning for warning in health.warnings] == [True] if says else not health.warnings
    )


def test_lag_is_never_negative_and_unknown_at_the_start() -> None:
    assert _assess(oldest=START + 3600 * SECOND).collector.lag_seconds == 0
    assert _assess(looked=START + 3600 * SECOND).collector.lag_seconds == 0
    assert _assess(looked=0, store="starting").collector.lag_seconds == 0


def test_calls_that_left_early_are_warned_about_for_a_day() -> None:
    """I7: `database.max_bytes` deletes younger calls than `database.keep_days` says."""
    hour = 3_600_000_000
    health = _assess(cut=START - 23 * hour)
    assert health.status == "healthy"
    [warning] = health.warnings
    assert "database.max_bytes" in warning and "database.keep_days" in warning
    assert _assess(cut=START - 25 * hour).warnings == []


def test_warnings_leave_it_healthy() -> None:
    health = _assess(unreadable=3, last_unreadable="f:9: outcome: bad", journal={"bytes": 85}, warn=True)
    assert health.status == "healthy"
    assert health.warnings == [
        "3 lines of the journal could not be collected",
        "the journal uses 85% of journal.max_bytes",
    ]
    assert health.collector.last_unreadable == "f:9: outcome: bad"


def test_callers_elsewhere_learn_three_things(tmp_path: Path) -> None:
    """F8: a public health check neither scans nor tells about tenants' calls. There is no store to scan here."""

    async def run() -> None:
        async with api(tmp_path) as client:
            here = await client.get("/health")
            assert (here.status_code, here.json()["status"]) == (200, "healthy")
            assert set(here.json()) == {*Health.__struct_fields__}
            elsewhere = await client.get("/health", headers={"x-gatehouse-peer": "203.0.113.9"})
            assert set(elsewhere.json()) == {"status", "version", "services"}
            head = await client.head("/health")
            assert (head.status_code, head.content) == (200, b"")

    asyncio.run(run())


def test_anything_but_healthy_is_a_503(tmp_path: Path) -> None:
    async def run() -> None:
        async with api(tmp_path, lambda: msgspec.structs.replace(well(), status="degraded")) as client:
            response = await client.get("/health")
            assert (response.status_code, response.json()["status"]) == (503, "degraded")

    asyncio.run(run())
