"""Whatever a provider sends behind, before or instead of an answer, no caller gets what was meant for another:
through a real worker, calls one after the other on what connections it keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import IncompleteRead

import pytest

from tests import running
from tests.fakes.lenient import TEMPERS, Lenient, Request, echoed, lenient
from tests.running import Gateway

STOLEN = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 18\r\n\r\n{"nonce":"stolen"}'
CALLS = 6


@dataclass(frozen=True)
class House:
    gateway: Gateway
    server: Lenient


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with lenient(TEMPERS[0]) as [server]:
        provider = {"base_url": f"http://127.0.0.1:{server.port}", "dialect": "openai"}
        with running.gateway({"providers": {"odd": provider}}) as gateway:
            yield House(gateway, server)


def _headed(*lines: bytes, body: bytes = b"", first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([first, b"content-type: application/json", *lines]) + b"\r\n\r\n" + body


def _own(request: Request) -> bytes:
    return echoed(request).partition(b"\r\n\r\n")[2]


ANSWERS: dict[str, Callable[[Request], bytes]] = {
    "two answers at once": lambda request: echoed(request) + STOLEN,
    "many answers at once": lambda request: echoed(request) + STOLEN * 50,
    "an answer before its own": lambda request: STOLEN.replace(b"stolen", b"------") + echoed(request),
    "a chunked answer and another": lambda request: (
        _headed(b"transfer-encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(_own(request)), _own(request)))
        + STOLEN
    ),
    "a trailer that is an answer": lambda request: _headed(
        b"transfer-encoding: chunked", body=b"%x\r\n%b\r\n0\r\n" % (len(_own(request)), _own(request)) + STOLEN
    ),
    "a length too short": lambda request: _headed(b"content-length: 2", body=b"{}" + _own(request) + STOLEN),
    "a length of none": lambda request: _headed(b"content-length: 0", body=_own(request) + STOLEN),
    "length and chunks": lambda request: _headed(
        b"content-length: 2", b"transfer-encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n" + STOLEN
    ),
    "two lengths": lambda request: _headed(b"content-length: 2", b"content-length: 4", body=b"{}{}" + STOLEN),
    "xchunked": lambda request: _headed(b"transfer-encoding: xchunked", body=b"2\r\n{}\r\n0\r\n\r\n" + STOLEN),
    "a 204 with a body": lambda request: _headed(
        b"content-length: %d" % len(STOLEN), body=STOLEN, first=b"HTTP/1.1 204 No Content"
    ),
    "a 304 with a body": lambda request: _headed(
        b"content-length: %d" % len(STOLEN), body=STOLEN, first=b"HTTP/1.1 304 Not Modified"
    ),
    "a 100 with a body": lambda request: (
        _headed(b"content-length: 6", body=b"stolen", first=b"HTTP/1.1 100 Continue") + echoed(request)
    ),
    "a 101 nobody asked for": lambda request: _headed(b"upgrade: x", first=b"HTTP/1.1 101 Switching") + STOLEN,
    "an answer split by bare LFs": lambda request: echoed(request).replace(b"\r\n", b"\n") + STOLEN,
    "a header that holds an answer": lambda request: echoed(request).replace(
        b"\r\n\r\n", b"\r\nx-request-id: a\n\n" + STOLEN + b"\r\n\r\n", 1
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_nobody_gets_it(house: House, name: str, method: str) -> None:
    """Each call gets its own answer, an empty one, or an error of the gateway's."""
    house.server.answer = ANSWERS[name]
    for number in range(CALLS):
        nonce = f"call-{number}"
        body = b"{}" if method == "POST" else None
        try:
            status, headers, got = house.gateway.call(method, "/odd/v1/models", body, {"x-nonce": nonce})
        except IncompleteRead as cut:  # and so visibly not whole
            assert b"stolen" not in cut.partial
            continue
        assert b"stolen" not in got
        assert "stolen" not in str(headers)
        if status == 200 and len(got) > 2 and b"------" not in got:
            assert json.loads(got)["nonce"] == nonce
        else:
            assert status in (200, 204, 304, 502), got
    house.server.answer = echoed
    status, got = house.gateway.get("/odd/v1/models", {"x-nonce": "next"})
    assert (status, json.loads(got)["nonce"]) == (200, "next")
