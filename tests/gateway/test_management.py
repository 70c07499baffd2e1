"""The way to the control plane through a real worker: whose request it is taken for, and what is said without it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.crash.processes import control_pid, kill, state, wait_until
from tests.running import Gateway, gateway


@pytest.fixture(scope="module")
def proxied() -> Iterator[Gateway]:
    """A gateway whose operator named a proxy on this machine."""
    with gateway({"server": {"trusted_proxies": ["127.0.0.1/32"]}}) as running:
        running.healthy()
        yield running


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-For", "127.0.0.1, 203.0.113.7"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", "garbage"),
        ("Forwarded", "for=203.0.113.7"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 nginx"),
    ],
)
def test_5_2_who_came_through_a_named_proxy_is_not_on_this_machine(proxied: Gateway, name: str, value: str) -> None:
    for path in ("/api/v1/traces", "/api/v1/analytics/usage", "/metrics"):
        status, body = proxied.get(path, {name: value})
        assert (status, json.loads(body)["code"]) == (403, "FORBIDDEN"), path
    status, body = proxied.get("/health", {name: value})
    assert (status, json.loads(body)["status"]) == (200, "healthy")
    assert "collector" not in json.loads(body), "callers elsewhere get the first three fields"


def test_5_2_who_came_directly_is(proxied: Gateway) -> None:
    for path in ("/api/v1/traces", "/metrics"):
        assert proxied.get(path)[0] == 200
    assert "collector" in proxied.get_json("/health")


def test_without_control_the_error_has_the_apis_shape_and_no_id_that_leads_nowhere() -> None:
    with gateway() as running:
        running.healthy()
        with _killed_for_good(running):
            status, headers, body = running.call("GET", "/api/v1/traces", None, {})
            assert (status, json.loads(body)["code"]) == (503, "OVERLOADED")
            assert json.loads(body).keys() == {"detail", "code", "retry_after", "errors"}
            assert headers["retry-after"] == "1" and "x-gatehouse-id" not in headers
            status, _, body = running.call("GET", "/health", None, {})
            assert (status, json.loads(body)["services"]) == (503, {"control": "down"})


def test_what_reaches_control_of_who_asks_and_what_comes_back() -> None:
    """Our cookies, the page's Origin and keys in headers of ours; nothing that only a worker may say. From control come
    cookies and where to go on."""
    with gateway() as running:
        running.healthy()
        with _killed_for_good(running), _control(running) as received:
            told = {
                "Cookie": "theme=dark; __Host-gatehouse_session=one; other=x; gatehouse_sso=two",
                "Origin": running.url,
                "X-Gatehouse-Key": "gth_live_x",
                "X-OngoingAI-Gateway-Key": "gth_live_y",
                "X-Gatehouse-Local-Token": "00",
                "X-Gatehouse-Peer": "127.0.0.1",
                "X-Gatehouse-Base": "https://evil.example",
                "X-Gatehouse-Tenant": "ten_x",
                "Authorization": "Bearer z",
            }
            deadline = time.monotonic() + 30
            status = 503
            while status == 503:  # until the worker has seen that its connections to the old one are gone
                assert time.monotonic() < deadline
                status, headers, _ = running.call("GET", "/api/v1/me?a=b", None, told)
        lines = received[0].decode().split("\r\n")
        assert lines[0] == "GET /api/v1/me?a=b HTTP/1.1"
        found = sorted(line.lower() for line in lines[1:] if line.startswith(("x-", "X-", "cookie", "origin", "Auth")))
        assert found == [
            "authorization: bearer z",
            "cookie: __host-gatehouse_session=one; gatehouse_sso=two",
            f"origin: {running.url}",
            f"x-gatehouse-base: {running.url}",
            "x-gatehouse-key: gth_live_x",
            "x-gatehouse-peer: 127.0.0.1",
            "x-ongoingai-gateway-key: gth_live_y",
        ]
        assert (status, headers["set-cookie"], headers["location"]) == (303, "gatehouse_session=new", "/ui")
        assert "x-gatehouse-secret" not in headers


@contextmanager
def _killed_for_good(running: Gateway) -> Iterator[None]:
    """Without control, and nobody restarts it meanwhile."""
    os.kill(running.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: state(running.pid) == "T", 30.0, "the supervisor stands still")
        pid = control_pid(running)
        assert pid is not None
        kill(pid)
        wait_until(lambda: state(pid) == "Z", 30.0, "control is dead")
        yield
    finally:
        os.kill(running.pid, signal.SIGCONT)


@contextmanager
def _control(running: Gateway) -> Iterator[list[bytes]]:
    """Stands in for control: one request, one answer. What was received.

    A worker that was held up for longer than it waits for a connection leaves one on which nothing comes.
    """
    path = running.data / "run" / "control.sock"
    path.unlink(missing_ok=True)
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(40)

        def serve() -> None:
            while not received:
                answer(listener.accept()[0])

        def answer(connection: socket.socket) -> None:
            with connection:
                connection.settimeout(40)
                data = b""
                while b"\r\n\r\n" not in data:
                    piece = connection.recv(65_536)
                    if not piece:
                        return
                    data += piece
                received.append(data)
                connection.sendall(
                    b"HTTP/1.1 303 See Other\r\nset-cookie: gatehouse_session=new\r\nlocation: /ui\r\n"
                    b"x-gatehouse-secret: x\r\ncontent-length: 0\r\n\r\n"
                )

        thread = threading.Thread(target=serve)
        thread.start()
        yield received
        thread.join(60)


def test_1_2_a_path_that_two_could_read_differently_ends_the_connection(proxied: Gateway) -> None:
    for path in ("/openai//v1/models", "/openai/v1/../admin", "/openai/v1/%2e%2e/admin", "/openai/v1/a%2fb"):
        status, headers, _ = proxied.call("GET", path, None, {})
        assert (status, headers["connection"]) == (400, "close"), path
