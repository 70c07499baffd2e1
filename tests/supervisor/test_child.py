"""Back-off, by the clock that is passed in."""

from __future__ import annotations

from gatehouse.supervisor.child import Backoff


def test_doubles_to_ten_seconds() -> None:
    backoff = Backoff()
    delays = [backoff.after(1.0) for _ in range(10)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_begins_again_after_30_seconds_of_life() -> None:
    backoff = Backoff()
    assert [backoff.after(lived) for lived in (0.0, 29.9, 30.0, 0.0)] == [0.1, 0.2, 0.1, 0.2]
