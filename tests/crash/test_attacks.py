"""Slow-loris, slow bodies, slow reading and floods of connections: 100 good clients hardly notice (I9).

The criterion is p99 with the attack against p99 without it, in turns on the same gateway, and the median over the
turns: one hiccup of the machine decides nothing, and where the criterion is not met there are more turns. The figures
are logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import running
from tests.crash.attack import KINDS
from tests.crash.processes import free_port, wait_until
from tests.running import Gateway

CLIENTS = 100
PAUSE = 0.4
"""Seconds between two calls of a client, on average."""
WORSE = 2.0
"""How much p99 may grow."""
NOISE = 0.005
"""Seconds that an idle machine's own p99 varies by."""
ALL = (*KINDS, "flood")
CONFIG = {
    "limits": {"connections": 800},
    "timeouts": {"header": 2.0, "body_idle": 2.0, "keep_alive": 30.0, "write_stall": 2.0},
    "simulated": {"tokens_per_second": 100_000.0},
}
_BODY = json.dumps({"model": "simulated", "messages": [{"role": "user", "content": "hello"}]}).encode()
_ASKING = (
    b"POST /simulated/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
_LOG = logging.getLogger(__name__)


class Good:
    """The good clients, each on a connection it keeps."""

    def __init__(self) -> None:
        self._connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self, port: int) -> None:
        for _ in range(CLIENTS):
            self._connections.append(await asyncio.open_connection("127.0.0.1", port))

    async def p99(self, seconds: float) -> float:
        """Of their calls within so many seconds, in seconds. Every call is answered well, or this raises."""
        took: list[float] = []
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._call(*each, until, took) for each in self._connections))
        return statistics.quantiles(took, n=100)[98]

    async def _call(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float, took: list[float]
    ) -> None:
        await asyncio.sleep(random.uniform(0, PAUSE))
        while time.monotonic() < until:
            began = time.perf_counter()
            writer.write(_ASKING)
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).lower()
            assert head.startswith(b"http/1.1 200"), head
            length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
            await asyncio.wait_for(reader.readexactly(length), 20)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(random.uniform(0, 2 * PAUSE))

    def close(self) -> None:
        for _, writer in self._connections:
            writer.transport.abort()


@contextmanager
def attack(port: int, provider: int, seconds: float, kinds: Sequence[str]) -> Iterator[None]:
    """Under way from the beginning of the block to its end."""
    arguments = (port, provider, seconds, *kinds)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.attack", *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None, "the attack ended before it was meant to"
    finally:
        process.kill()
        process.communicate()


async def under_attack(
    port: int, provider: int, kinds: Sequence[str], turns: int, seconds: float
) -> list[tuple[float, float]]:
    """p99 without and with the attack, turn by turn. The good clients are there before the bad ones."""
    good = Good()
    found = []
    try:
        await good.connect(port)
        await good.p99(seconds / 2)  # a warm-up
        for _ in range(turns):
            without = await good.p99(seconds)
            with attack(port, provider, seconds + 30, kinds):
                found.append((without, await good.p99(seconds)))
    finally:
        good.close()
    return found


def attacked(tmp_path: Path, kinds: Sequence[str], turns: int, seconds: float) -> None:
    provider = free_port()
    config = {**CONFIG, "providers": {"large": {"base_url": f"http://127.0.0.1:{provider}"}}}
    with running.gateway(config, data=tmp_path / "data") as house:
        workers = house.worker_pids()
        found: list[tuple[float, float]] = []
        worse = math.inf
        while worse > WORSE and len(found) < 3 * turns:  # more turns where there is a doubt
            found += asyncio.run(under_attack(house.port, provider, kinds, turns, seconds))
            worse = statistics.median((during + NOISE) / (without + NOISE) for without, during in found)
        shown = ", ".join(f"{without * 1000:.1f} → {during * 1000:.1f} ms" for without, during in found)
        _LOG.info("p99 %s: %s", "+".join(kinds), shown)
        assert worse <= WORSE, f"p99 grew {worse:.2f} times, in the median of {shown}"
        assert house.worker_pids() == workers, house.said()
        # The worker is done with them by itself.
        wait_until(lambda: _connections(house) <= 2, 20.0, "no connection of the attack is left")
        assert house.stop() == 0


def _connections(house: Gateway) -> float:
    lines = house.get("/metrics")[1].decode().splitlines()
    return float(next(line for line in lines if line.startswith("gatehouse_worker_client_connections{")).split()[1])


@pytest.mark.alone
@pytest.mark.timeout(120)
def test_good_clients_hardly_notice_an_attack(tmp_path: Path) -> None:
    """All kinds at once, at the limit of connections."""
    attacked(tmp_path, ALL, turns=3, seconds=1.5)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kinds", [*((kind,) for kind in ALL), ALL], ids="+".join)
def test_good_clients_hardly_notice_for_long(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    attacked(tmp_path, kinds, turns=5, seconds=float(os.environ.get("GATEHOUSE_ATTACK_SECONDS", "6")))
