"""A full disk under a real gateway: new calls are refused and none is forwarded, running ones end on
the record, `/health` says so, and it goes on by itself once there is room."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import running
from tests.crash import kinds, proof, small_disk
from tests.crash.load import Load
from tests.crash.processes import control_pid, peak, wait_until
from tests.crash.upstream import upstream
from tests.running import Gateway

REFUSED = 300
CHAT = b'{"model":"gpt-4o","stream":%b,"messages":[{"role":"user","content":"x"}]}'
HEADERS = {"authorization": "Bearer sk-own", "content-type": "application/json"}


def _call(house: Gateway) -> tuple[int, http.client.HTTPMessage, bytes]:
    return house.call("POST", "/openai/v1/chat/completions", CHAT % b"false", HEADERS)


@contextlib.contextmanager
def _open_stream(house: Gateway) -> Iterator[None]:
    """A stream that begins and does not end; the client leaves at the end of the block."""
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    try:
        connection.request("POST", "/openai/v1/chat/completions", CHAT % b"true", {**HEADERS, "x-fake": "stall=400"})
        with connection.getresponse() as response:
            assert response.status == 200
            assert response.read1(100)
            yield
    finally:
        connection.close()


@pytest.mark.timeout(120)
def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """I2, I7: what cannot be put on record is not forwarded, and the caller, `/health` and `/health/ready` say why."""
    with upstream() as provider:
        config = {"providers": {"openai": {"base_url": provider.url}}, "server": {"grace_seconds": 5.0}}
        with small_disk.gateway(config, tmp_path / "data", 16 * 1024 * 1024) as (house, journal):
            assert _call(house)[0] == 200
            with _open_stream(house):
                ballast = small_disk.fill(journal)
                _until_full(house)
                before = len(provider.collect())
                for _ in range(20):
                    _assert_refused(*_call(house))
                _assert_refusing_takes_no_memory(house)
                assert len(provider.collect()) == before, "a call that is not on record was forwarded"
                _assert_told(house)
            wait_until(lambda: b'"client_gone"' in _newest(journal), 30.0, "the running call ends on the record")
            ballast.unlink()
            wait_until(lambda: _call(house)[0] == 200, 20.0, f"calls are taken again\n{house.said()}")
            health = house.healthy(timeout=30.0)
            assert health["services"]["journal"] == "connected"
            assert house.get("/health/ready")[0] == 200
            assert house.stop() == 0
            calls = proof.read(journal)
            assert calls.tally()["client_gone"] == 1
            assert calls.tally().keys() <= {"ok", "client_gone", "refused"}
            assert calls.counted + len(calls.refused) >= 20 + REFUSED
            checked = house.run("verify", str(journal))
            assert checked.returncode == 0, checked.stdout
            proof.assert_stored(tmp_path / "data", calls)


@pytest.mark.timeout(120)
def test_a_journal_that_is_taken_away_stops_calls(tmp_path: Path) -> None:
    """I2, I7: a cleaner that deletes the journal must not make the record vanish while calls go on."""
    journal = tmp_path / "data" / "journal"
    with upstream() as provider:
        config = {"providers": {"openai": {"base_url": provider.url}}}
        with running.gateway(config, data=tmp_path / "data") as house:
            assert _call(house)[0] == 200
            shutil.rmtree(journal)
            wait_until(lambda: _call(house)[0] == 503, 20.0, "calls are refused")
            before = len(provider.collect())
            status, _, body = _call(house)
            assert (status, json.loads(body)["code"]) == (503, "OVERLOADED")
            status, body = house.get("/health")
            assert (status, json.loads(body)["services"]["journal"]) == (503, "failing")
            metrics = house.get("/metrics")[1].decode()
            assert 'gatehouse_worker_journal_state{state="failing",worker="0"} 1.0' in metrics
            assert "failing" in house.run("doctor").stdout
            assert len(provider.collect()) == before
            assert house.stop() == 0
            assert "was taken away" in house.said()


@pytest.mark.timeout(120)
def test_lanes_that_are_taken_away_are_followed_by_new_ones(tmp_path: Path) -> None:
    """I2: calls are refused until the processes have begun anew, by themselves; then each is on record."""
    journal = tmp_path / "data" / "journal"
    with upstream() as provider:
        config = {"providers": {"openai": {"base_url": provider.url}}, "server": {"grace_seconds": 2.0}}
        with running.gateway(config, data=tmp_path / "data") as house:
            assert _call(house)[0] == 200
            [worker], control = house.worker_pids(), control_pid(house)
            for lane in journal.iterdir():
                shutil.rmtree(lane)
            wait_until(lambda: control_pid(house) not in (None, control), 30.0, f"control begins anew\n{house.said()}")
            wait_until(lambda: house.worker_pids() not in ([], [worker]), 30.0, f"and the worker\n{house.said()}")
            wait_until(lambda: _call(house)[0] == 200, 30.0, f"calls are taken again\n{house.said()}")
            assert house.healthy()["services"]["journal"] == "connected"
            assert "was taken away; another lane begins with the next process" in house.said()
            before = len(provider.collect())
            assert _call(house)[0] == 200
            assert len(provider.collect()) == before + 1
            assert house.stop() == 0
        assert proof.read(journal).tally()["ok"] >= 2


def _until_full(house: Gateway) -> None:
    """Calls go on in what was allocated ahead, and then no longer."""
    with Load(house.port, [kinds.PLAIN, kinds.LARGE], 8, 1) as loaded:
        wait_until(lambda: any(sent.status == 503 for sent in loaded.sent[-50:]), 60.0, "calls are refused")
        loaded.finish()
    assert {sent.status for sent in loaded.sent} == {200, 503}
    assert all(sent.end == "whole" for sent in loaded.sent)


def _newest(journal: Path) -> bytes:
    """The last lines of all lanes."""
    return b"".join(segment.read_bytes()[-4096:] for segment in journal.glob("*/*.jsonl"))


def _assert_refused(status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
    error = json.loads(body)
    assert (status, error["code"], headers["x-gatehouse-error"]) == (503, "JOURNAL_FULL", "gateway"), body
    assert "disk" in error["detail"]
    assert int(headers["retry-after"]) >= 1


def _assert_refusing_takes_no_memory(house: Gateway) -> None:
    """I9: while the disk is full, every call ends with one and the same error, which must not keep them."""
    [worker] = house.worker_pids()
    before = peak(worker)
    with Load(house.port, [kinds.LARGE], 8, 2) as loaded:
        wait_until(lambda: loaded.whole >= REFUSED, 60.0, f"{REFUSED} calls are refused")
        loaded.finish()
    bodies = REFUSED * kinds.LARGE.padding
    assert peak(worker) - before < bodies / 4, (peak(worker), before)


def _assert_told(house: Gateway) -> None:
    assert house.get("/health/ready")[0] == 503
    assert house.get("/health/live")[0] == 200
    status, body = house.get("/health")
    health = json.loads(body)
    assert (status, health["status"], health["services"]["journal"]) == (503, "unhealthy", "full"), health
    assert any("full" in problem for problem in health["problems"]), health
    # Workers publish their gauges twice a second.
    full = b'gatehouse_worker_journal_state{state="full",worker="0"} 1.0'
    wait_until(lambda: full in house.get("/metrics")[1], 30.0, "the metric says so")
    doctor = house.run("doctor")
    assert doctor.returncode == 1
    assert "the journal of worker 0 is full: it takes no new calls" in doctor.stdout, doctor.stdout
