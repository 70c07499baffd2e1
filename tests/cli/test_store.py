"""`gatehouse store rebuild`: what it says, and when it does nothing."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from gatehouse.collector.lock import CollectorLock
from gatehouse.config.paths import DataDir
from gatehouse.store import ids, times
from tests.cli.conftest import Cli
from tests.collector.lanes_on_disk import Worker, collect, held
from tests.store import databases
from tests.store.databases import Server
from tests.store.samples import call_id

HOUR = 3_600_000_000


@pytest.fixture
def lanes(data: Path) -> list[str]:
    """Two lanes of three calls each, of the last hours, collected."""

    async def run() -> list[str]:
        DataDir(data).create()
        found = []
        for number in range(2):
            worker = Worker(data / "journal")
            for n in range(3):
                worker.call(call_id(times.now() // 1000 * 1000 - (number + 1) * HOUR, n))
            worker.writer.close()
            found.append(worker.writer.lane)
        await collect(data)
        return found

    return asyncio.run(run())


def test_it_says_what_it_did(cli: Cli, data: Path, lanes: list[str]) -> None:
    before = asyncio.run(held(data))
    result = cli("store", "rebuild")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("rebuilt from 16 lines of the journal, which reaches back to 20")
    assert asyncio.run(held(data)) == before


def test_calls_are_dropped_only_when_told_to(cli: Cli, data: Path, lanes: list[str]) -> None:
    """I7."""
    shutil.rmtree(data / "journal" / lanes[1])
    result = cli("store", "rebuild")
    assert (result.code, result.out) == (1, "")
    assert "no longer 3 calls of the store" in result.err and "--discard-older" in result.err
    result = cli("store", "rebuild", "--discard-older")
    assert result.code == 0
    [_, discarded] = result.out.splitlines()
    assert discarded.startswith("3 calls begun between 20") and discarded.endswith(" discarded")
    assert all((ids.started(row[2]) or 0) > times.now() - 2 * HOUR for row in asyncio.run(held(data))["traces"])


def test_a_lane_that_does_not_hold_is_named(cli: Cli, data: Path, lanes: list[str]) -> None:
    (data / "store.db").unlink()
    segment = data / "journal" / lanes[0] / "000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"outcome":"ok"', b'"outcome":"OK"'))
    result = cli("store", "rebuild")
    assert result.code == 1
    assert f"lane {lanes[0]} is not collected beyond line 2: {segment}:3: " in result.out


def test_a_running_gateway_is_left_alone(cli: Cli, data: Path, lanes: list[str]) -> None:
    lock = CollectorLock(DataDir(data).collector_lock)
    assert lock.take()
    result = cli("store", "rebuild")
    lock.release()
    assert result.code == 1
    assert result.err == "Error: the gateway runs and has the store; stop it first, then rebuild, then start it again\n"


def test_without_a_journal_there_is_nothing_to_do(cli: Cli, data: Path) -> None:
    data.mkdir()
    result = cli("store", "rebuild")
    assert result.code == 1
    assert "there is no journal at" in result.err


def test_on_postgresql_all_commands_find_their_calls(
    cli: Cli, data: Path, lanes: list[str], postgresql: Server
) -> None:
    """O5: the server stopped, the journal not collected yet, and a store that is empty."""
    address = postgresql.create_empty()
    environ = {"GATEHOUSE_DATABASE__URL": address}
    assert "6 calls" in cli("report", "--since", "all", **environ).out
    assert cli("debug", "last", **environ).code == 0
    assert cli("store", "rebuild", **environ).code == 0
    databases.place(data, address)
    assert len(asyncio.run(held(data))["traces"]) == 6
    said = cli("doctor", **environ).out
    assert f"postgresql://127.0.0.1:{postgresql.port}/" in said and " is readable" in said
    shown = cli("config", "show", **environ).out
    assert databases.PASSWORD not in said + shown and "://***@127.0.0.1" in shown
    away = address.replace(f":{postgresql.port}/", ":1/")
    for command in (("report",), ("debug", "last"), ("store", "rebuild"), ("doctor",)):
        result = cli(*command, GATEHOUSE_DATABASE__URL=away)
        assert result.code == 1
        assert "cannot connect to the store postgresql://127.0.0.1:1/" in result.err + result.out
        assert databases.PASSWORD not in result.err + result.out
