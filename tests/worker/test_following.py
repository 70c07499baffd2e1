"""Workers that follow control, as processes: control away, workers that hang, revocation under load."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from gatehouse.config.settings import Auth
from gatehouse.control.publishing import Publisher
from gatehouse.gateway import persisted
from gatehouse.gateway.snapshot import filled
from gatehouse.worker.subscription import ASK_SECONDS
from tests import running
from tests.control.workers import Directory, published, until, workers
from tests.crash.processes import control_pid, kill, wait_until
from tests.gateway.entries import PLAIN, SETTINGS, key, sections, without
from tests.worker import admitting
from tests.worker.tree import Tree, tree

KEY = {"authorization": "Bearer sk-of-the-caller"}
ACCOUNTS = msgspec.structs.replace(SETTINGS, auth=Auth(enabled=True))
MANY = filled(PLAIN, sections(1_000), 7)


def _run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 90))


def _publisher(made: Tree, directory: Directory) -> AbstractAsyncContextManager[Publisher]:
    """With socket and file where a data directory has them."""
    return published(made.data.run, made.loads, directory, path=made.data.snapshot)


def test_a_worker_starts_and_serves_with_control_away(tmp_path: Path) -> None:
    """From the persisted snapshot, after no more than a second of asking."""
    with tree(tmp_path) as made:
        made.start(0)
        assert made.versions() == {0: 1} and made.served()
        persisted.write(made.data.snapshot, MANY)
        begun = time.monotonic()
        made.start(1)
        assert time.monotonic() - begun < 30
        assert made.versions() == {0: 1, 1: 7} and made.served()


def test_with_accounts_nobody_is_turned_away_before_it_knows_them(tmp_path: Path) -> None:
    """On a machine that joins others, or has lost its snapshot: every key would be unknown (401) until control has
    read the directory, so calls wait for that."""
    directory = Directory(sections(10, revision=10))

    async def run(made: Tree) -> None:
        starting = asyncio.create_task(asyncio.to_thread(made.start, 0))
        await until(lambda: made.versions() == {0: 1})
        assert not (await asyncio.wait((starting,), timeout=ASK_SECONDS + 0.5))[0]
        async with _publisher(made, directory) as publisher:
            await publisher.publish()
            await starting
            assert made.versions() == {0: 10}

    with tree(tmp_path, settings=ACCOUNTS) as made:
        _run(run(made))


def test_it_ends_while_it_waits_for_them(tmp_path: Path) -> None:
    async def run(made: Tree) -> None:
        starting = asyncio.create_task(asyncio.to_thread(made.start, 0))
        await until(lambda: made.versions() == {0: 1})
        assert not (await asyncio.wait((starting,), timeout=ASK_SECONDS + 0.5))[0]
        os.kill(made.loads.registered()[0].pid, signal.SIGTERM)
        assert await asyncio.to_thread((await starting).wait, 20) == 0

    with tree(tmp_path, settings=ACCOUNTS) as made:
        _run(run(made))


def test_control_is_killed_while_workers_serve_and_comes_back() -> None:
    """I8: with the real control process. Its next start finds the same content, so nobody has to swap."""
    with running.gateway({"server": {"workers": 2}}) as house:
        path = house.data / "snapshot.bin"
        left = path.read_bytes()
        assert persisted.version(path) == 1
        ask = b'{"model": "simulated", "messages": [{"role": "user", "content": "hi"}]}'
        for _ in range(2):
            pid = control_pid(house)
            kill(pid)
            for _ in range(10):
                status, _, _ = house.call("POST", "/simulated/v1/chat/completions", ask)
                assert status == 200
            wait_until(lambda: control_pid(house) not in (None, pid), 30.0, "control is back")  # noqa: B023
            house.healthy(timeout=60.0)
        pid = house.worker_pids()[0]
        kill(pid)
        wait_until(lambda: pid not in house.worker_pids() and len(house.worker_pids()) == 2, 30.0, "a new worker")
        assert path.read_bytes() == left
        assert house.stop() == 0
        assert "refused" not in house.said() and "ignored" not in house.said()
        assert not list((house.data / "run").iterdir())


def test_another_configuration_has_another_version(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for version, enabled in ((1, True), (1, True), (2, False)):
        config = {"simulated": {"enabled": enabled}, "providers": {"openai": {"base_url": "http://127.0.0.1:9"}}}
        with running.gateway(config, data=data) as house:
            there = data / "snapshot.bin"
            wait_until(lambda: persisted.version(there) == version, 30.0, "control publishes")  # noqa: B023
            # A worker that had to accept before control said so goes on by the version before, and comes to it.
            wait_until(lambda: _decided_by(house) == version, 30.0, "workers decide by it")  # noqa: B023


def _decided_by(house: running.Gateway) -> object:
    """The version that a new call's decision names."""
    with house.recorded() as records:
        status, _, _ = house.call("POST", "/openai/v1/chat/completions", b"{}", KEY)
        assert status == 502
    return records[0].decision["snapshot"]


def test_one_that_hangs_is_killed_and_only_then_it_returns(tmp_path: Path) -> None:
    """With real workers: the other one serves on and has the change."""
    directory = Directory(sections(100, revision=10))

    async def run(made: Tree) -> None:
        async with _publisher(made, directory) as publisher:
            await publisher.publish()
            alive, hung = await asyncio.to_thread(made.start, 0), await asyncio.to_thread(made.start, 1)
            assert made.versions() == {0: 10, 1: 10}
            os.kill(hung.pid, signal.SIGSTOP)
            directory.sections = without(directory.sections, key(1).id)
            begun = time.monotonic()
            await publisher.published(await publisher.publish())
            assert 2.0 <= time.monotonic() - begun < 10.0
            await until(lambda: made.versions() == {0: 11})
            await until(lambda: hung.returncode == -signal.SIGKILL)
            assert alive.poll() is None and await asyncio.to_thread(made.served)
            await asyncio.to_thread(made.start, 1)
            assert made.versions() == {0: 11, 1: 11}

    with tree(tmp_path) as made:
        _run(run(made))


def test_a_worker_that_starts_while_much_is_published(tmp_path: Path) -> None:
    """Nobody is killed for starting, and each is at the newest version once `published` has returned."""
    directory = Directory(sections(3_000, revision=1))

    async def publish(publisher: Publisher, made: Tree, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            directory.sections = without(directory.sections, key(number).id)
            version = await publisher.publish()
            await publisher.published(version)
            assert all(found >= version or found == 0 for found in made.versions().values())
            number += 1

    async def run(made: Tree) -> None:
        stop = asyncio.Event()
        async with _publisher(made, directory) as publisher:
            publishing = asyncio.create_task(publish(publisher, made, stop))
            started = [await asyncio.to_thread(made.start, index) for index in range(2)]
            stop.set()
            await publishing
            version = await publisher.publish()
            await publisher.published(version)
            assert made.versions() == {0: version, 1: version}
            assert all(process.poll() is None for process in started)

    with tree(tmp_path) as made:
        _run(run(made))


def test_no_call_is_admitted_after_its_key_was_revoked(tmp_path: Path) -> None:
    """Issue, "Revocation": 200 calls a second on each key, over two workers, while one after the other is revoked. The
    pipeline is a stand-in that looks keys up; file, socket, words and workers are real."""
    notes = [tmp_path / f"notes-{index}" for index in range(2)]
    directory = Directory(sections(2_000))
    words = []
    for path in notes:
        path.write_bytes(bytes(admitting.KEYS * 16))
        with path.open("r+b") as file:
            words.append(memoryview(mmap.mmap(file.fileno(), admitting.KEYS * 16)).cast("q"))

    async def run(load_fd: int) -> None:
        answered: list[int] = []
        async with published(tmp_path, load.loads, directory) as publisher:
            await publisher.publish()
            for index in range(2):
                command = [sys.executable, "-m", "tests.worker.admitting", str(load_fd), str(index), str(tmp_path)]
                started = load.start(index, [*command, str(notes[index])])
                assert started.stdout is not None
                assert await asyncio.to_thread(started.stdout.readline) == b"ready\n"
            for number in range(admitting.KEYS):
                await asyncio.sleep(0.02)
                directory.sections = without(directory.sections, key(number).id)
                await publisher.published(await publisher.publish())
                answered.append(time.monotonic_ns())
            await asyncio.sleep(0.2)
        for number, when in enumerate(answered):
            for word in words:
                assert 0 < word[2 * number] < when, f"key {number} was admitted after its revocation had answered"
        assert min(word[2 * admitting.KEYS - 1] for word in words) > 20, "calls were admitted all the while"

    with workers(2) as load:
        _run(run(load.loads.fd))
