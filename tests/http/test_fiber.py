"""The fiber: wake-ups are never lost, never nested, and may be spurious."""

from __future__ import annotations

import asyncio

import pytest

from gatehouse.http.fiber import Fiber
from tests.http.serving import run


class Steps:
    """A coroutine that counts how often it went on, until told to stop."""

    def __init__(self) -> None:
        self.fiber = Fiber()
        self.turns = 0
        self.stop = False
        self.wake_within = 0

    async def run(self) -> None:
        while not self.stop:
            for _ in range(self.wake_within):
                self.fiber.wake()
            self.wake_within = 0
            await self.fiber.sleep()
            self.turns += 1


def test_start_runs_to_the_first_wait_and_wake_to_the_next() -> None:
    steps = Steps()
    steps.fiber.start(steps.run())
    assert steps.turns == 0
    steps.fiber.wake()
    steps.fiber.wake()
    assert steps.turns == 2
    steps.stop = True
    steps.fiber.wake()
    assert steps.fiber.finished


def test_a_wake_while_running_is_kept_for_the_next_sleep_however_many_there_were() -> None:
    steps = Steps()
    steps.wake_within = 3
    steps.fiber.start(steps.run())
    assert steps.turns == 1
    assert not steps.fiber.finished


def test_wake_before_the_start_and_after_the_end_is_harmless() -> None:
    steps = Steps()
    steps.fiber.wake()
    steps.stop = True
    steps.fiber.start(steps.run())
    assert steps.fiber.finished
    steps.fiber.wake()
    assert steps.turns == 0


def test_a_coroutine_is_never_entered_twice() -> None:
    """Two fibers that wake each other: each goes on only when it sleeps."""
    first, second = Fiber(), Fiber()
    log: list[str] = []

    async def one() -> None:
        await first.sleep()
        log.append("one begins")
        second.wake()
        log.append("one ends")
        await first.sleep()
        log.append("one again")

    async def two() -> None:
        await second.sleep()
        first.wake()
        log.append("two")

    first.start(one())
    second.start(two())
    first.wake()
    assert log == ["one begins", "two", "one ends", "one again"]
    assert first.finished and second.finished


def test_a_bug_in_the_coroutine_reaches_whoever_woke_it_once() -> None:
    fiber = Fiber()

    async def broken() -> None:
        await fiber.sleep()
        raise ValueError("bug")

    fiber.start(broken())
    with pytest.raises(ValueError, match="bug"):
        fiber.wake()
    assert fiber.finished
    fiber.wake()


def test_join_hands_over_what_asyncio_made_and_survives_spurious_wakes() -> None:
    fiber = Fiber()
    results: list[object] = []

    async def work() -> None:
        results.append(await fiber.join(asyncio.sleep(0.01, "done")))
        try:
            await fiber.join(fail())
        except OSError as error:
            results.append(str(error))

    async def fail() -> None:
        raise OSError("no")

    async def main() -> None:
        fiber.start(work())
        fiber.wake()
        fiber.wake()
        assert results == []
        while not fiber.finished:  # noqa: ASYNC110 - a few turns
            await asyncio.sleep(0.001)

    run(main())
    assert results == ["done", "no"]
