"""A clock that is set, forward or back, at any moment: ages are believed only as far as time has passed."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gatehouse.config import settings
from gatehouse.journal.clock import Steady
from gatehouse.journal.refusals import SECOND, FloodGate
from gatehouse.journal.retention import Retention
from tests.journal.samples import journal, refusal
from tests.journal.test_recovery import dead_worker
from tests.journal.test_retention import all_of, names

DAY = 86_400.0


class Clocks:
    """The system's two clocks, in a test's hands."""

    def __init__(self) -> None:
        self.wall = time.time()
        self.elapsed = 1000.0

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds

    def steady(self) -> Steady:
        return Steady(lambda: self.wall, lambda: self.elapsed)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e9, 1e9)), max_size=8))
def test_time_never_runs_ahead_of_what_has_passed(steps: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    steady, start = clocks.steady(), clocks.wall
    for passed, jump in steps:
        clocks.pass_time(passed)
        clocks.wall += jump
        assert steady.now() <= start + (clocks.elapsed - 1000.0) + 0.001
        assert steady.now() <= clocks.wall
    assert abs(steady.jumped - sum(jump for _, jump in steps)) < 0.01


def test_the_systems_clocks_agree() -> None:
    steady = Steady()
    assert abs(steady.jumped) < 1.0
    assert abs(steady.now() - time.time()) < 1.0


def test_a_clock_set_forward_deletes_nothing(tmp_path: Path) -> None:
    """Segments go when they are old, not when the clock is wrong; after a restart it is believed."""
    lane = dead_worker(tmp_path, 60, ended=60, segment_bytes=15_000)
    clocks = Clocks()

    async def run() -> None:
        async with journal(tmp_path, "control") as writer:
            collected = all_of(tmp_path)
            os.utime(tmp_path / lane / "000001.jsonl", (clocks.wall - 2 * DAY, clocks.wall - 2 * DAY))
            options = settings.Journal(keep_days=183)
            keeper = Retention(tmp_path, writer, options, clock=clocks.steady())
            clocks.wall += 365 * DAY
            assert (await keeper.run(collected)).deleted == ()
            clocks.pass_time(182 * DAY)
            deleted = (await keeper.run(collected)).deleted
            assert deleted == (f"{lane}/000001.jsonl.gz",), "it is 184 days old by now, whatever the clock says"
            restarted = Retention(tmp_path, writer, options, clock=clocks.steady())
            assert (await restarted.run(collected)).deleted[0].startswith(f"{lane}/000002")
            assert names(tmp_path / lane) == [] or names(tmp_path / lane)[0] > "000002"

    asyncio.run(run())


def test_refusals_that_are_counted_never_end_before_they_begin() -> None:
    gate = FloodGate()
    start = 1_795_000_000 * SECOND
    gate.count("t", refusal("1"), start)
    gate.count("t", refusal("2"), start - 3600 * SECOND)
    ((_, summary),) = gate.due(start - 3600 * SECOND)
    assert summary.count == 2
    assert summary.since <= summary.until
