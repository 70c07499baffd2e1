"""No caller gets a second request past us, and none gets another's answer: the corpus, end to
end, through a real worker, to back ends that read HTTP as loosely as the worst servers do."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests import running
from tests.fakes.lenient import TEMPERS, Lenient, Request, lenient, understood
from tests.faults.smuggling import CASES, HIDDEN
from tests.running import Gateway

TARGETS = ("/v1/chat/completions", "/v1/files")
"""Of a call that is read whole and framed anew, and of one that is passed on as it arrives."""
PATIENCE = 0.3
"""Seconds without a further byte: a case that is not whole waits for more, and so does its answer."""


@dataclass(frozen=True)
class House:
    gateway: Gateway
    servers: list[Lenient]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with lenient(*TEMPERS[:2]) as servers:
        providers = {
            f"loose-{number}": {"base_url": f"http://127.0.0.1:{server.port}", "dialect": "openai"}
            for number, server in enumerate(servers)
        }
        with running.gateway({"providers": providers}) as gateway:
            yield House(gateway, servers)


def told(house: House, data: bytes) -> bytes:
    """What a caller gets who sends this, and then waits."""
    received = b""
    with socket.create_connection(("127.0.0.1", house.gateway.port), timeout=10) as client:
        client.sendall(data)
        client.settimeout(PATIENCE)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while piece := client.recv(65_536):
                received += piece
                if _has_answer(received):
                    client.settimeout(0.03)  # is there another?
    return received


def _has_answer(received: bytes) -> bool:
    head, _, body = received.partition(b"\r\n\r\n")
    lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lines) and len(body) >= int(lines[0].partition(b":")[2])


def seen(server: Lenient) -> list[list[Request]]:
    """By every reading, what came on the connections of this one, one connection after the other."""
    readings = []
    for temper in TEMPERS:
        requests: list[Request] = []
        for taken in server.taken:
            if taken:
                found, rest = understood(bytes(taken), temper)
                assert not rest.strip() or not found or not found[-1].whole, f"{temper.name}: {rest!r} is left over"
                requests += found
        readings.append(requests)
    return readings


@pytest.mark.parametrize("name", CASES)
def test_a_case(house: House, name: str) -> None:
    """At most the one request reaches the back end, every reading of it is the same, and the next caller's answer is
    the next caller's."""
    for number, server in enumerate(house.servers):
        for path in TARGETS:
            target = f"/loose-{number}{path}".encode()
            server.forget()
            got = told(house, CASES[name].replace(b"{target}", target))
            assert b'"/hidden"' not in got
            assert b"stolen" not in got
            status, body = house.gateway.get(f"/loose-{number}/v1/models", {"x-nonce": "next"})
            assert (status, json.loads(body)) == (200, {"target": "/v1/models", "nonce": "next"})
            readings = seen(server)
            for requests in readings:
                own = [request for request in requests if request.target != b"/v1/models"]
                assert len(own) <= 1, own
                assert all(request.nonce == b"own" for request in own), own
                assert [request.nonce for request in requests if request not in own] == [b"next"]
            assert readings.count(readings[0]) == len(readings), readings
            if got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) and path == TARGETS[0]:
                assert len(readings[0]) == 1, "something of a refused request went on"


def test_the_corpus_is_dangerous() -> None:
    """Sent to a loose server as they are, most cases give it a second request: else this tests nothing."""
    fooled = 0
    for data in CASES.values():
        found = [understood(data.replace(b"{target}", b"/x"), temper)[0] for temper in TEMPERS]
        fooled += any(request.target == b"/hidden" for requests in found for request in requests)
    assert len(CASES) > 120
    assert fooled > len(CASES) / 2, fooled
    assert b"stolen" in HIDDEN
