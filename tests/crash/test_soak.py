"""A mixed load through a real `serve` with two workers: at its end everything a call took has been given back.

I9, I10: 5 % of the calls go wrong upstream and 20 % of the clients leave, at once or midway.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests import running
from tests.crash import kinds, proof
from tests.crash.kinds import Kind
from tests.crash.load import Load, Sent
from tests.crash.processes import assert_nothing_left, descriptors, peak, resident, wait_until
from tests.crash.upstream import Upstream, upstream
from tests.running import Gateway

KINDS = (
    kinds.PLAIN,
    kinds.STREAM,
    kinds.SLOW,
    kinds.LARGE,
    kinds.UPLOAD,
    *kinds.FAULTS,
    *kinds.LEAVERS,
    *kinds.HALF_SENT,
)
CLIENTS = 24
AT_ONCE = 10.0
"""Seconds `serve` may take to end when nothing runs; its grace is ten times that."""

MIB = 1024 * 1024


@pytest.mark.timeout(180)
def test_what_calls_take_is_given_back(tmp_path: Path) -> None:
    """I9: after load, memory and descriptors are where they were; I2: calls = outcomes = rows."""
    soak(tmp_path / "data", 18.0, growth=0.10)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_what_calls_take_is_given_back_for_long(tmp_path: Path) -> None:
    """As above, for GATEHOUSE_SOAK_SECONDS (600)."""
    soak(tmp_path / "data", float(os.environ.get("GATEHOUSE_SOAK_SECONDS", "600")), growth=0.05)


def soak(data: Path, seconds: float, growth: float) -> None:
    """Load for so long; the first third warms up. `growth`: of a worker's memory since then, as a part of it."""
    with upstream() as provider:
        config = {
            "providers": {"openai": {"base_url": provider.url}},
            "server": {"workers": 2, "grace_seconds": 10 * AT_ONCE},
            "pool": {"idle_seconds": 1.0},  # so that descriptors show a leak and not the pool
        }
        with running.gateway(config, data=data) as house:
            workers = house.worker_pids()
            # One more than at the start: libuv opens /dev/null with its first connection, and keeps it.
            fresh = {pid: descriptors(pid) + 1 for pid in workers}
            sent = _load(house, provider, seconds / 3)
            _assert_idle(house, provider, fresh)
            warm = {pid: resident(pid) for pid in workers}
            sent += _load(house, provider, seconds * 2 / 3)
            _assert_idle(house, provider, fresh)
            for pid in workers:
                assert resident(pid) <= warm[pid] * (1 + growth) + 2 * MIB, (resident(pid) / MIB, warm[pid] / MIB)
            assert house.worker_pids() == workers, house.said()
            began = time.monotonic()
            assert house.stop() == 0
            assert time.monotonic() - began < AT_ONCE, "something still ran in a worker"
            port = house.port
        assert_nothing_left(data, port)
        calls = proof.read(data / "journal")
        proof.assert_decided_first(calls, provider.collect(), sent)
        proof.assert_ended_as_meant(calls, sent)
        proof.assert_verified(house)
        proof.assert_stored(data, calls)


def _load(house: Gateway, provider: Upstream, seconds: float) -> list[Sent]:
    end = time.monotonic() + seconds
    with Load(house.port, KINDS, CLIENTS, 1) as loaded:
        while time.monotonic() < end:
            provider.collect()
            time.sleep(0.2)
        loaded.finish()
    return loaded.sent


def _assert_idle(house: Gateway, provider: Upstream, fresh: dict[int, int]) -> None:
    """No call runs, no connection of a client or to an upstream is left."""
    for pid, count in fresh.items():
        wait_until(lambda: descriptors(pid) <= count, 30.0, f"worker {pid} gives descriptors back")  # noqa: B023
    assert house.healthy(timeout=30.0)["collector"]["stopped"] == []
    provider.collect()
    assert provider.connections == 0


@pytest.mark.timeout(120)
def test_slow_readers_hold_up_only_their_own_upstream(tmp_path: Path) -> None:
    """I9: forty clients take no byte of forty answers of 16 MiB; a worker holds a small part of each, and serves on."""
    readers = 40
    stuffed = Kind("stops reading", stream=True, stops_reading=True, answer=16 * MIB, outcome="client_gone")
    with upstream() as provider:
        config = {"providers": {"openai": {"base_url": provider.url}}, "server": {"grace_seconds": 10 * AT_ONCE}}
        with running.gateway(config, data=tmp_path / "data") as house:
            [worker] = house.worker_pids()
            with Load(house.port, [kinds.PLAIN], 4, 1) as first:
                wait_until(lambda: first.whole >= 100, 60.0, "a warm-up")
                first.finish()
            warm = peak(worker)
            with (
                Load(house.port, [stuffed], readers, 2) as slow,
                Load(house.port, [kinds.PLAIN, kinds.STREAM], 4, 3) as others,
            ):
                wait_until(lambda: slow.begun == readers, 60.0, "all answers begin")
                served = others.whole
                wait_until(lambda: others.whole >= served + 200, 60.0, "others are served meanwhile")
                assert peak(worker) - warm <= readers * MIB, (peak(worker) / MIB, warm / MIB)
                slow.finish()
                others.finish()
            assert house.stop() == 0
        calls = proof.read(tmp_path / "data" / "journal")
        proof.assert_ended_as_meant(calls, [*first.sent, *slow.sent, *others.sent])
