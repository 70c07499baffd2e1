"""A mixed load through a real `serve` with two workers: at its end everything a call took has been given back.

I9, I10: every dialect, streamed or not, uploads, embeddings; of all calls 5 % go wrong upstream, half of them in one
of the ways of the table of faults (`tests.faults.rows`), and of the clients 20 % leave, at once or midway. The figures
of a run are logged:
`make soak ARGS="-k long -o log_cli=true -o log_cli_level=INFO"`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests import running
from tests.crash import kinds, proof
from tests.crash.kinds import Kind
from tests.crash.load import Load, Sent
from tests.crash.processes import assert_nothing_left, descriptors, peak, resident, wait_until
from tests.crash.upstream import Upstream, upstream
from tests.fakes.misbehaving import misbehaving
from tests.faults.rows import BEHIND, DIALECTS, ROWS
from tests.faults.running import PATHS
from tests.running import Gateway


def weighing(percent: float, *chosen: Kind) -> tuple[Kind, ...]:
    """These kinds, together so much of all calls."""
    scale = percent / sum(kind.weight for kind in chosen)
    return tuple(replace(kind, weight=kind.weight * scale) for kind in chosen)


KINDS = (
    *weighing(75, kinds.PLAIN, kinds.STREAM, kinds.SLOW, kinds.LARGE, kinds.UPLOAD, *kinds.OTHERS),
    *weighing(2.5, *kinds.FAULTS),
    *weighing(20, *kinds.LEAVERS, *kinds.HALF_SENT),
)
CLIENTS = 24
SHOW_SECONDS = 30.0
CATCH_UP = 300.0
SILENCE = 6.0
"""Seconds a provider that goes wrong may be silent: longer than a busy machine makes a good answer take."""
AT_ONCE = 10.0
"""Seconds `serve` may take to end when nothing runs; its grace is ten times that."""

MIB = 1024 * 1024
EVERY = frozenset(range(100_000))
"""Turns of a provider that goes wrong whenever it is asked."""

_LOG = logging.getLogger(__name__)


@contextmanager
def wrong_ways() -> Iterator[tuple[tuple[Kind, ...], dict[str, Any]]]:
    """Kinds of calls that meet each fault of the table, and the providers to configure for them. Not what comes behind
    an answer: whose call it meets is a matter of moments."""
    rows = [row for row in ROWS if row.at == "here" and row.group != BEHIND and not (row.warm or row.big)]
    found: list[Kind] = []
    providers = {}
    with misbehaving() as fake:
        for number, row in enumerate(rows):
            dialect = DIALECTS[number % len(DIALECTS)]
            listener = fake.listen(row.way, dialect, turns=EVERY)
            providers[f"wrong-{number}"] = {"base_url": f"http://127.0.0.1:{listener.port}", "dialect": dialect}
            for streamed in (False, True):
                path = f"/wrong-{number}{PATHS[dialect, streamed]}"
                outcome = row.expect(dialect, streamed=streamed).outcome
                found.append(Kind(row.does, 1, streamed, path=path, asks=dialect, outcome=outcome))
        yield weighing(2.5, *found), providers


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
    with upstream() as provider, wrong_ways() as (wrong, providers):
        good = {name: {"base_url": provider.url} for name in ("openai", "anthropic", "google")}
        config = {
            "providers": {**good, **providers},
            "routes": [{"match": "/wrong-*", "first_byte": SILENCE, "idle": SILENCE}],
            "server": {"workers": 2, "grace_seconds": 10 * AT_ONCE},
            "pool": {"idle_seconds": 1.0},  # so that descriptors show a leak and not the pool
        }
        with running.gateway(config, data=data) as house:
            workers = house.worker_pids()
            # One more than at the start: libuv opens /dev/null with its first connection, and keeps it.
            fresh = {pid: descriptors(pid) + 1 for pid in workers}
            idle = Figures.of(house).tasks
            sent = _load(house, provider, wrong, seconds / 3)
            _assert_idle(house, provider, fresh, idle)
            warm = {pid: resident(pid) for pid in workers}
            sent += _load(house, provider, wrong, seconds * 2 / 3)
            _assert_idle(house, provider, fresh, idle)
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


@dataclass(frozen=True)
class Figures:
    """What a run is watched by. Of the workers, in their order; bytes."""

    resident: tuple[int, ...]
    descriptors: tuple[int, ...]
    tasks: tuple[int, ...]

    @classmethod
    def of(cls, house: Gateway) -> Figures:
        pids = house.worker_pids()
        status, told = house.get("/metrics")
        assert status == 200, told
        lines = told.decode().splitlines()
        tasks = [int(float(line.split()[1])) for line in lines if line.startswith("gatehouse_worker_tasks{")]
        return cls(tuple(map(resident, pids)), tuple(map(descriptors, pids)), tuple(tasks))


def _load(house: Gateway, provider: Upstream, wrong: tuple[Kind, ...], seconds: float) -> list[Sent]:
    end = time.monotonic() + seconds
    shown = time.monotonic()
    with Load(house.port, (*KINDS, *wrong), CLIENTS, 1) as loaded:
        while time.monotonic() < end:
            provider.collect()
            time.sleep(0.2)
            if time.monotonic() - shown > SHOW_SECONDS:
                shown = time.monotonic()
                _LOG.info("%d calls sent, %s", len(loaded.sent), Figures.of(house))
        loaded.finish()
    return loaded.sent


def _assert_idle(house: Gateway, provider: Upstream, fresh: dict[int, int], tasks: tuple[int, ...]) -> None:
    """No call runs, no connection of a client or to an upstream is left, and no task of the event loop."""
    for pid, count in fresh.items():
        wait_until(lambda: descriptors(pid) <= count, 30.0, f"worker {pid} gives descriptors back")  # noqa: B023
    wait_until(lambda: max(Figures.of(house).tasks) <= max(tasks), 30.0, f"no more than {tasks} tasks")
    _LOG.info("idle: %s", Figures.of(house))
    # Calls come first: at saturation the collector lags, and has to catch up.
    assert house.healthy(timeout=CATCH_UP)["collector"]["stopped"] == []
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
                # Some 800 KiB each; a peak of the allocator's may be half as much again.
                assert peak(worker) - warm <= 2 * readers * MIB, (peak(worker) / MIB, warm / MIB)
                slow.finish()
                others.finish()
            assert house.stop() == 0
        calls = proof.read(tmp_path / "data" / "journal")
        proof.assert_ended_as_meant(calls, [*first.sent, *slow.sent, *others.sent])
