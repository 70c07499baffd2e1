"""`/metrics` of a real gateway: figures equal to the calls made, from every worker, and gone with it."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import fakes
from tests.control.test_metrics import Samples, samples
from tests.crash import small_disk
from tests.crash.processes import control_pid, kill, wait_until
from tests.fakes.server import Misbehaviour
from tests.running import Gateway, gateway

CHAT = "/openai/v1/chat/completions"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
KEY = {"authorization": "Bearer sk-of-the-caller"}
SERIES = ("gpt-4o-mini", "openai", "openai/chat")


def _ask(running: Gateway, path: str = CHAT, **more: Any) -> int:
    status, _, _ = running.call("POST", path, json.dumps(ASK | more).encode(), KEY)
    return status


def _scrape(running: Gateway) -> Samples:
    status, body = running.get("/metrics")
    assert status == 200, body
    return samples(body.decode())


def _until(running: Gateway, condition: Callable[[Samples], bool], what: str) -> Samples:
    def look() -> Samples | None:
        found = _scrape(running)
        return found if condition(found) else None

    found = wait_until(look, 15.0, what)
    assert found is not None
    return found


def _sum(found: Samples, name: str) -> float:
    return sum(value for key, value in found.items() if key[0] == name)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Gateway, fakes.Fake]]:
    """Two workers and a provider."""
    with fakes.openai() as fake:
        config = {"server": {"workers": 2}, "providers": {"openai": {"base_url": fake.url}}}
        with gateway(config) as running:
            running.healthy()
            yield running, fake


def test_figures_equal_the_calls_made(served: tuple[Gateway, fakes.Fake]) -> None:
    running, fake = served
    with running.recorded(7) as records:
        for _ in range(3):
            assert _ask(running) == 200
        assert _ask(running, stream=True, stream_options={"include_usage": True}) == 200
        fake.misbehave(Misbehaviour(error=429))
        assert _ask(running) == 429
        fake.misbehave(Misbehaviour(close=True), times=2)
        assert _ask(running) == 502
        fake.behave()
        assert _ask(running, "/nowhere") == 404
    found = _until(running, lambda found: _sum(found, "gatehouse_requests_total") == 7, "all are collected")

    outcomes = Counter(record.outcome["outcome"] for record in records)
    for outcome, count in outcomes.items():
        counted = sum(
            value for key, value in found.items() if key[0] == "gatehouse_requests_total" and key[2] == outcome
        )
        assert counted == count, outcome
    assert found["gatehouse_requests_total", "gpt-4o-mini", "ok", "openai", "openai/chat", "2xx"] == 4
    assert found["gatehouse_requests_total", "gpt-4o-mini", "ok", "openai", "openai/chat", "4xx"] == 1
    parts: Counter[str] = Counter()
    for record in records:
        parts.update(record.usage)
    assert parts["input"] > 0
    for part, tokens in parts.items():
        assert found["gatehouse_tokens_total", "gpt-4o-mini", part, "openai"] == tokens
    cost = sum(record.outcome.get("cost", 0) for record in records)
    assert found["gatehouse_cost_dollars_total", "gpt-4o-mini", "openai"] == pytest.approx(cost / 1e9)
    forwarded = [record for record in records if record.outcome.get("attempts")]
    assert found["gatehouse_attempts_total", "openai"] == sum(record.outcome["attempts"] for record in forwarded)
    assert found["gatehouse_request_duration_seconds_count", *SERIES] == len(forwarded)
    durations = sum(record.outcome["duration_us"] for record in forwarded) / 1e6
    assert found["gatehouse_request_duration_seconds_sum", *SERIES] == pytest.approx(durations)
    assert found["gatehouse_time_to_first_token_seconds_count", *SERIES] == 1
    assert found["gatehouse_errors_total", "429", "openai"] == 1
    assert found["gatehouse_errors_total", "UPSTREAM_ERROR", "openai"] == 1
    assert found["gatehouse_refusals_total", "NOT_FOUND"] == 1
    assert found["gatehouse_collector_lag_lines",] == 0


def test_gauges_of_the_moment(served: tuple[Gateway, fakes.Fake]) -> None:
    running, fake = served
    seen = len(fake.requests)
    before = _scrape(running)
    fake.misbehave(Misbehaviour(stall=10))
    with contextlib.ExitStack() as stack:
        reader = threading.Thread(target=_ask_and_leave, args=(running, leave := threading.Event()))
        reader.start()
        stack.callback(reader.join, 10)
        stack.callback(leave.set)
        fake.wait(seen + 1)
        for sent in (b"", b"GET /hal"):
            with socket.create_connection(("127.0.0.1", running.port)) as connection:
                connection.sendall(sent)
        name = "gatehouse_worker_connections_without_request_total"
        found = _until(
            running,
            lambda found: (
                _sum(found, "gatehouse_worker_open_streams") == 1 and _sum(found, name) == _sum(before, name) + 2
            ),
            "the stream is open, and two connections said nothing",
        )
        assert _sum(found, "gatehouse_worker_open_calls") == 1
        assert _sum(found, "gatehouse_worker_client_connections") >= 1
        in_use = [
            value for key, value in found.items() if key[:2] == ("gatehouse_worker_upstream_connections", "in_use")
        ]
        assert (len(in_use), sum(in_use)) == (2, 1)
        for worker in ("0", "1"):
            assert found["gatehouse_worker_journal_state", "ok", worker] == 1
            assert 0 <= found["gatehouse_worker_event_loop_lag_seconds", worker] < 10
    _until(running, lambda found: _sum(found, "gatehouse_worker_open_calls") == 0, "it is over")


def _ask_and_leave(running: Gateway, leave: threading.Event) -> None:
    """A stream that stands still, until told to leave it."""
    body = json.dumps(ASK | {"stream": True}).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(head.encode() + b"authorization: Bearer sk-of-the-caller\r\n\r\n" + body)
        leave.wait(20)


def test_a_dead_workers_gauges_go_and_the_next_ones_come(served: tuple[Gateway, fakes.Fake]) -> None:
    running, _ = served

    def workers(found: Samples) -> int:
        return sum(key[0] == "gatehouse_worker_open_calls" for key in found)

    _until(running, lambda found: workers(found) == 2, "both are there")
    victim, _ = running.worker_pids()
    kill(victim)
    deadline = time.monotonic() + 30
    counts: list[int] = []
    while not counts or counts[-1] != 1:
        assert time.monotonic() < deadline, counts
        # The connection may have been the dead worker's.
        with contextlib.suppress(ConnectionError, OSError):
            counts.append(workers(_scrape(running)))
    _until(running, lambda found: workers(found) == 2, "its successor says something")


def test_a_new_control_process_begins_at_nothing_and_counts_nothing_twice(served: tuple[Gateway, fakes.Fake]) -> None:
    running, _ = served
    before = _sum(_scrape(running), "gatehouse_requests_total")
    assert _ask(running) == 200
    _until(running, lambda found: _sum(found, "gatehouse_requests_total") == before + 1, "the call is collected")
    kill(control_pid(running))
    wait_until(lambda: running.get("/metrics")[0] == 503, 30.0, "control is away")
    assert _ask(running) == 200  # counted when it is back
    wait_until(lambda: running.get("/metrics")[0] == 200, 30.0, "control is back")
    found = _until(running, lambda found: _sum(found, "gatehouse_requests_total") > 0, "the call is collected")
    assert _sum(found, "gatehouse_requests_total") == 1
    assert len([key for key in found if key[0] == "gatehouse_worker_open_calls"]) == 2


def test_a_full_disk_shows(tmp_path: Path) -> None:
    """I7: figures need no disk, and say what is wrong with it."""
    with fakes.openai() as fake:
        config = {"providers": {"openai": {"base_url": fake.url}}, "capture": {"bodies": True}}
        with small_disk.gateway(config, tmp_path / "data", 16 * 1024 * 1024) as (running, journal):
            assert _ask(running) == 200
            ballast = small_disk.fill(journal)
            # What was allocated ahead is soon used up by captured bodies that do not compress.
            wait_until(lambda: _ask(running, padding=secrets.token_hex(500_000)) == 503, 20.0, "calls are refused")
            found = _until(
                running,
                lambda found: (
                    found.get(("gatehouse_worker_journal_state", "full", "0")) == 1
                    and found["gatehouse_worker_refusals_counted_total", "0"] > 0
                ),
                "the worker says so",
            )
            assert found["gatehouse_worker_decisions_failed_total", "0"] > 0
            assert found["gatehouse_worker_journal_state", "ok", "0"] == 0
            ballast.unlink()
            wait_until(lambda: _ask(running) == 200, 20.0, "calls are taken again")
            _until(
                running,
                lambda found: (
                    found["gatehouse_worker_journal_state", "ok", "0"] == 1
                    and _sum(found, "gatehouse_refusals_total") > 0
                ),
                "all is well, and what was refused meanwhile is counted",
            )
