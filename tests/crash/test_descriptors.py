"""A worker out of file descriptors: it neither spins nor dies, what runs goes on, callers, `/health`, `doctor` and
`/metrics` are told, and it goes on by itself once there are some again."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import running
from tests.crash import kinds, proof
from tests.crash.load import Load
from tests.crash.processes import descriptors, wait_until
from tests.crash.upstream import upstream
from tests.running import Gateway

LIMIT = 192
FLOOD = 400
CHAT = b'{"model":"gpt-4o","stream":%b,"messages":[{"role":"user","content":"%b"}]}'
HEADERS = {"authorization": "Bearer sk-own", "content-type": "application/json"}


class Kept:
    """A client that keeps its one connection."""

    def __init__(self, house: Gateway) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)

    def ask(self, path: str = "/openai/v1/chat/completions") -> tuple[int, bytes]:
        post = path.startswith("/openai")
        self._connection.request("POST" if post else "GET", path, CHAT % (b"false", b"x") if post else None, HEADERS)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def kept(house: Gateway) -> Iterator[Kept]:
    client = Kept(house)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def no_more(worker: int) -> Iterator[None]:
    """The worker has as many descriptors as it may; with every new one a system call fails."""
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    numbers = [int(path.name) for path in Path(f"/proc/{worker}/fd").iterdir()]
    free = next(number for number in range(max(numbers) + 2) if number not in numbers)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)


def denied(metrics: bytes) -> float:
    lines = metrics.decode().splitlines()
    return float(
        next(line for line in lines if line.startswith("gatehouse_worker_descriptors_denied_total{")).split()[1]
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.timeout(90)
def test_without_any_descriptor(tmp_path: Path) -> None:
    """I2, I7: a call that needs a new connection is 503 and on record; nothing else happens to anybody."""
    data = tmp_path / "data"
    with upstream() as provider:
        config = {"providers": {"openai": {"base_url": provider.url}}, "pool": {"idle_seconds": 1.0}}
        with running.gateway(config, data=data) as house, kept(house) as client:
            [worker] = house.worker_pids()
            assert client.ask()[0] == 200
            assert client.ask("/health")[0] == 200
            wait_until(lambda: not provider.connections, 30.0, "the provider's connection is given up as idle")
            assert client.ask("/health")[0] == 200  # and control's is not
            with no_more(worker), socket.socket() as waiting:
                status, body = client.ask()
                said = json.loads(body)
                assert (status, said["code"]) == (503, "OVERLOADED"), said
                assert "file descriptors" in said["detail"]
                began, spent = time.monotonic(), cpu_seconds(worker)
                waiting.settimeout(20)
                waiting.connect(("127.0.0.1", house.port))  # the kernel's part of accepting
                waiting.sendall(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
                wait_until(lambda: client.ask("/health")[0] == 503, 30.0, "/health says so")
                while time.monotonic() < began + 1.0:
                    time.sleep(0.05)
                assert cpu_seconds(worker) - spent < 0.5, "it spins"
                health = json.loads(client.ask("/health")[1])
                assert health["status"] == "degraded"
                assert any("file descriptors" in problem for problem in health["problems"])
                assert denied(client.ask("/metrics")[1]) >= 2
            assert waiting_answer(house).startswith(b"HTTP/1.1 200")
            assert client.ask()[0] == 200
            doctor = house.run("doctor")
            assert "file descriptors" in doctor.stdout, doctor.stdout
            assert house.worker_pids() == [worker]
            assert house.stop() == 0
        calls = proof.read(data / "journal")
        assert calls.tally() == {"ok": 2, "upstream_error": 1}
        assert len(provider.collect()) == 2


def waiting_answer(house: Gateway) -> bytes:
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as client:
        client.sendall(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        return client.recv(65_536)


@pytest.mark.timeout(90)
def test_a_flood_of_connections_leaves_enough(tmp_path: Path) -> None:
    """Clients get half of the descriptors at most: the calls that are there reach their providers throughout, new
    clients are told at once, and all is well once the flood is over."""
    data = tmp_path / "data"
    wrapper = ("sh", "-c", 'ulimit -n "$1" && shift && exec "$@"', "sh", str(LIMIT))
    with upstream() as provider:
        config = {
            "providers": {"openai": {"base_url": provider.url}},
            "pool": {"idle_seconds": 1.0},
            "journal": {"segment_bytes": 1024 * 1024},
        }
        with running.gateway(config, data=data, wrapper=wrapper) as house:
            [worker] = house.worker_pids()
            with Load(house.port, [kinds.PLAIN, kinds.STREAM, kinds.SLOW, kinds.LARGE], 12, 1) as loaded:
                wait_until(lambda: loaded.whole >= 60, 30.0, "the good clients are served")
                with contextlib.ExitStack() as stack:
                    flood = [stack.enter_context(socket.socket()) for _ in range(FLOOD)]
                    for one in flood:
                        one.setblocking(False)
                        one.connect_ex(("127.0.0.1", house.port))
                    first, *_ = wait_until(lambda: list(answers(flood)), 30.0, "the flood is told")
                    assert b"503" in first.split(b"\r\n")[0]
                    assert b'"OVERLOADED"' in first
                    served = loaded.whole
                    wait_until(lambda: loaded.whole >= served + 100, 30.0, "the good clients are served all the while")
                    assert descriptors(worker) < LIMIT
                loaded.finish()
            assert loaded.unreached == 0
            assert {sent.status for sent in loaded.sent} == {200}
            assert house.worker_pids() == [worker]
            assert house.stop() == 0
        calls = proof.read(data / "journal")
        proof.assert_decided_first(calls, provider.collect(), loaded.sent)
        assert calls.tally()["ok"] == len(calls.outcomes) == len(loaded.sent)
        assert len(calls.refused) + calls.counted >= FLOOD // 4
        proof.assert_stored(data, calls)


def answers(flood: list[socket.socket]) -> Iterator[bytes]:
    """What those of the flood got that were answered."""
    for one in flood:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            if got := one.recv(65_536):
                yield got
