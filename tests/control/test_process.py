"""The control process as the supervisor starts it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import msgspec
import pytest

from gatehouse.config.settings import Database, Settings
from gatehouse.store import reading
from tests.collector.lanes_on_disk import Worker, calls
from tests.control.serving import HERE, Running, control

WRITER = """
import asyncio, pathlib, sys
from tests.collector.lanes_on_disk import Worker, calls
async def run():
    worker = Worker(pathlib.Path(sys.argv[1]))
    for name in calls(20):
        worker.decide(name)
    for name in calls(20)[:15]:
        worker.conclude(name)
    worker.writer.flush()
    print("written", flush=True)
    await asyncio.sleep(60)
asyncio.run(run())
"""


class _Item(msgspec.Struct):
    id: str
    outcome: str


class _Page(msgspec.Struct):
    items: list[_Item]


def _until(running: Running, path: str, expected: int) -> list[_Item]:
    deadline = time.monotonic() + 30
    while True:
        found = msgspec.json.decode(running.get(path).content, type=_Page).items
        if len(found) == expected:
            return found
        assert time.monotonic() < deadline, f"{len(found)} instead of {expected}"
        time.sleep(0.05)


def test_it_serves_collects_recovers_and_ends_in_order(tmp_path: Path) -> None:
    """I2: what a killed worker left open is `interrupted`, in the journal and in the store, within seconds."""
    with control(tmp_path) as running:
        assert running.said == "ready\n"
        assert stat.S_IMODE(running.data.control_socket.stat().st_mode) == 0o600
        health = running.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "healthy")
        worker = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(running.data.journal)], stdout=subprocess.PIPE, cwd=_root()
        )
        assert worker.stdout is not None
        worker.stdout.readline()
        worker.stdout.close()
        _until(running, "/api/v1/traces?outcome=open", 5)
        roles = {lane["role"] for lane in running.get("/health").json()["lanes"]}
        assert "control" in roles
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(30)
        assert len(_until(running, "/api/v1/traces?outcome=interrupted", 5)) == 5
        assert len(_until(running, "/api/v1/traces", 20)) == 20
        assert running.stop() == 0
        assert not running.data.control_socket.exists()
        assert not list(running.data.root.glob("store.db-wal"))


def test_killed_at_any_time_it_starts_again(tmp_path: Path) -> None:
    async def write(journal: Path) -> None:
        worker = Worker(journal)
        for name in calls(500):
            worker.call(name)
        worker.writer.close()

    with control(tmp_path) as running:
        asyncio.run(write(running.data.journal))
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(30)
        assert running.data.control_socket.exists()  # left behind; the next one takes its place
    with control(tmp_path) as running:
        assert running.said == "ready\n"
        assert running.stop() == 0  # at once: it collects to the end first

    async def read() -> None:
        async with reading.open(tmp_path) as reader:
            report = await reader.report()
            assert (report.calls, report.outcomes) == (500, {"ok": 500})

    asyncio.run(read())


def test_it_serves_without_a_store_and_says_so(tmp_path: Path) -> None:
    """The journal is the buffer: a store that cannot be opened is a problem to show, not a reason to stop."""
    (tmp_path / "store.db").mkdir()
    with control(tmp_path) as running:
        assert running.said == "ready\n"
        health = running.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "degraded")
        assert health.json()["services"]["store"] == "unavailable"
        assert running.get("/api/v1/traces").status_code == 503
        (tmp_path / "store.db").rmdir()
        deadline = time.monotonic() + 30
        while running.get("/health").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert running.get("/api/v1/traces").status_code == 200
        assert running.stop() == 0


def test_sockets_that_were_taken_away_are_put_back(tmp_path: Path) -> None:
    """Who is connected stays so; the data directory itself is not made again where it was moved."""
    with control(tmp_path / "data") as running, _kept(running) as client:
        assert client.get("http://control/health", headers=HERE).status_code == 200
        followed = socket.socket(socket.AF_UNIX)
        followed.connect(str(running.data.snapshot_socket))
        shutil.rmtree(running.data.run)
        _wait(running.data.control_socket.is_socket)
        _wait(running.data.snapshot_socket.is_socket)
        assert stat.S_IMODE(running.data.run.stat().st_mode) == 0o700
        assert stat.S_IMODE(running.data.control_socket.stat().st_mode) == 0o600
        assert running.get("/health").status_code == 200
        assert client.get("http://control/health", headers=HERE).status_code == 200
        followed.setblocking(False)
        with pytest.raises(BlockingIOError):
            followed.recv(1)
        followed.close()
        running.data.root.rename(tmp_path / "moved")
        time.sleep(1.2)  # it has looked twice
        assert not running.data.root.exists()
        (tmp_path / "moved").rename(running.data.root)
        _wait(lambda: running.get("/health").status_code == 200)
        assert running.stop() == 0


def test_what_keeps_it_from_starting_is_told_to_the_supervisor(tmp_path: Path) -> None:
    with control(tmp_path, Settings(database=Database(url="mysql://u:secret@h/x"))) as running:
        assert running.said.startswith("failed: control: database.url: mysql is not available")
        assert "secret" not in running.said
        assert running.process.wait(30) == 1


def _kept(running: Running) -> httpx2.Client:
    """A client that keeps its connection."""
    return httpx2.Client(transport=httpx2.HTTPTransport(uds=str(running.data.control_socket)))


def _wait(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _root() -> Path:
    return Path(__file__).parents[2]
