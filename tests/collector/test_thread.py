"""The collector beside a server, and without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gatehouse.collector import catch_up
from gatehouse.collector.collect import Collector
from gatehouse.collector.lock import CollectorLock
from gatehouse.collector.state import CollectorState
from gatehouse.collector.thread import CollectorThread
from gatehouse.config.settings import Database, Settings
from gatehouse.errors import ConfigError
from gatehouse.store import engine, reading
from tests.collector.lanes_on_disk import Worker, calls, held
from tests.store import databases


def _settings(data: Path) -> Settings:
    # The calls of these tests are of November 2025.
    return Settings(database=Database(url=databases.address(data), keep_days=36_500))


def _thread(data: Path) -> CollectorThread:
    collector = Collector(data / "journal", databases.url(data), _settings(data).database)
    return CollectorThread(collector, CollectorLock(data / "collector.lock"), drain_seconds=5)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.01)


def test_a_thread_collects_beside_a_loop_and_to_the_end_when_stopped(tmp_path: Path) -> None:
    """I8: the loop that serves does not wait for the collector."""

    async def run() -> None:
        worker = Worker(tmp_path / "journal")
        thread = _thread(tmp_path)
        thread.start()
        waits = []
        for name in calls(2_000):
            worker.call(name)
            before = time.monotonic()
            await asyncio.sleep(0)
            waits.append(time.monotonic() - before)
        worker.writer.flush()
        thread.stop()
        assert thread.join(30)
        assert not thread.alive
        assert sorted(waits)[-3] < 0.2, "but for when the machine itself stood still"
        assert thread.state.collected == worker.writer.head[0]
        assert len((await held(tmp_path))["traces"]) == 2_000
        worker.writer.close()

    asyncio.run(run())


def test_only_one_collects(place: Path) -> None:
    async def run() -> None:
        worker = Worker(place / "journal")
        worker.call(calls(1)[0])
        worker.writer.flush()
        first, second = _thread(place), _thread(place)
        first.start()
        _until(lambda: first.state.collected == 3)
        assert not await catch_up(place, _settings(place))  # the server collects; the command line just reads
        second.start()
        assert second.state == CollectorState()
        first.stop()
        assert first.join(30)
        _until(lambda: second.state.store == "connected")
        second.stop()
        assert second.join(30)
        worker.writer.close()

    asyncio.run(run())


def test_catching_up_without_a_server(place: Path) -> None:
    """O5: report and debug work on what a stopped server left."""

    async def run() -> None:
        assert not await catch_up(place, _settings(place))  # nothing was ever served here
        assert not (place / "store.db").exists()
        worker = Worker(place / "journal")
        for name in calls(3):
            worker.call(name)
        worker.writer.close()
        assert await catch_up(place, _settings(place))
        assert await catch_up(place, _settings(place))
        async with reading.open(place, databases.address(place)) as reader:
            assert (await reader.report()).calls == 3

    asyncio.run(run())


def test_catching_up_says_what_is_wrong_and_lets_the_lock_go(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()

    async def run() -> None:
        with pytest.raises(ConfigError, match=r"database\.url"):
            await catch_up(tmp_path, Settings(database=Database(url="mysql://x")))
        (tmp_path / "store.db").write_bytes(b"no database " * 1000)
        with pytest.raises(engine.StoreError, match="not a database"):
            await catch_up(tmp_path, _settings(tmp_path))
        (tmp_path / "store.db").unlink()
        assert await catch_up(tmp_path, _settings(tmp_path))

    asyncio.run(run())


def test_a_state_tells_its_lag() -> None:
    now = 10_000_000
    assert CollectorState(looked=now).lag(now + 500_000) == 0
    assert CollectorState(looked=now).lag(now + 2_500_000) == 2.5  # not heard of for that long
    assert CollectorState(looked=now, oldest=now - 1_000_000).lag(now) == 1
    assert CollectorState(looked=now, oldest=now + 1_000_000).lag(now) == 0
