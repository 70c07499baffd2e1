"""The store is a projection of the journal: locked, removed or put back, calls go on and the collector catches up."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import running
from tests.crash import kinds, proof
from tests.crash.load import Load
from tests.crash.processes import control_pid, kill, wait_until
from tests.crash.upstream import upstream
from tests.running import Gateway
from tests.store import databases
from tests.store.databases import Server

CALLS = 100


@contextlib.contextmanager
def _house(data: Path) -> Iterator[tuple[Gateway, Load]]:
    """A gateway under load; at the end its calls, as its clients saw them, stand in journal and store."""
    with upstream() as provider:
        config: dict[str, object] = {"providers": {"openai": {"base_url": provider.url}}}
        if address := databases.address(data):
            config["database"] = {"url": address}
        with (
            running.gateway(config, data=data) as house,
            Load(house.port, [kinds.PLAIN, kinds.STREAM, *kinds.FAULTS], 6, 1) as loaded,
        ):
            _more(loaded)
            yield house, loaded
            loaded.finish()
            house.healthy(timeout=30.0)
            assert house.stop() == 0
        calls = proof.read(data / "journal")
        proof.assert_decided_first(calls, provider.collect(), loaded.sent)
        proof.assert_ended_as_meant(calls, loaded.sent)
        proof.assert_stored(data, calls)


def _more(loaded: Load) -> None:
    """Calls are answered, now."""
    enough = loaded.whole + CALLS
    wait_until(lambda: loaded.whole >= enough, 60.0, f"{CALLS} more calls are answered")


def _rows(data: Path) -> int:
    """Ended calls in the store."""
    [[ended]] = proof.select(data, "SELECT count(*) FROM traces WHERE outcome != 'open'")
    return int(ended)


def _services(house: Gateway) -> dict[str, str]:
    services: dict[str, str] = json.loads(house.get("/health")[1])["services"]
    return services


@pytest.mark.timeout(120)
def test_a_locked_store(tmp_path: Path) -> None:
    """I8: somebody else's transaction holds up the collector, which says so, and no call."""
    data = tmp_path / "data"
    with _house(data) as (house, loaded):
        wait_until(lambda: _rows(data), 20.0, "the store is filled")
        with closing(sqlite3.connect(data / "store.db", timeout=20.0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            before = _rows(data)
            _more(loaded)
            wait_until(lambda: _services(house)["store"] == "unavailable", 30.0, "/health says so")
            status, body = house.get("/health")
            assert (status, json.loads(body)["status"]) == (503, "degraded")
            assert 'gatehouse_store_state{state="unavailable"} 1.0' in house.get("/metrics")[1].decode()
            assert "unavailable" in house.run("doctor").stdout
            _more(loaded)
            assert _rows(data) == before
            other.execute("ROLLBACK")
        wait_until(lambda: _services(house)["store"] == "connected", 30.0, "the store is used again")
        wait_until(lambda: _rows(data) > before + CALLS, 30.0, "the collector catches up")


@pytest.mark.timeout(120)
def test_a_store_that_is_removed_is_built_again(tmp_path: Path) -> None:
    """All of it, from the journal, the calls of before included."""
    data = tmp_path / "data"
    with _house(data) as (_, loaded):
        wait_until(lambda: _rows(data), 20.0, "the store is filled")
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            (data / name).unlink()
        _more(loaded)
        wait_until((data / "store.db").exists, 20.0, "there is a store again")


@pytest.mark.timeout(120)
def test_an_earlier_store_put_back_is_brought_up_to_date(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with _house(data) as (_, loaded):
        wait_until(lambda: _rows(data), 20.0, "the store is filled")
        with closing(sqlite3.connect(data / "store.db", isolation_level=None)) as store:
            store.execute("VACUUM INTO ?", (str(tmp_path / "earlier.db"),))
        _more(loaded)
        for name in ("store.db-wal", "store.db-shm"):
            (data / name).unlink()
        (tmp_path / "earlier.db").rename(data / "store.db")
        _more(loaded)


@pytest.mark.timeout(120)
def test_a_database_server_that_stops(tmp_path: Path) -> None:
    """I8: connections are cut in the middle of transactions, then refused, then taken again: nothing is lost and
    nothing doubled, however long that takes."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with _server() as server:
        databases.place(data, server.create())
        with _house(data) as (house, loaded):
            wait_until(lambda: _rows(data), 20.0, "the store is filled")
            for _ in range(5):
                _cut(server, data)
                _more(loaded)
            server.stop()
            _more(loaded)
            wait_until(lambda: _services(house)["store"] == "unavailable", 30.0, "/health says so")
            status, body = house.get("/health")
            assert (status, json.loads(body)["status"]) == (503, "degraded")
            assert databases.PASSWORD not in body.decode() + house.said()
            _more(loaded)
            server.start()
            before = _rows(data)
            wait_until(lambda: _services(house)["store"] == "connected", 30.0, "the store is used again")
            wait_until(lambda: _rows(data) > before + CALLS, 30.0, "the collector catches up")


@pytest.mark.timeout(120)
def test_a_collector_killed_on_a_database_server(postgresql: Server, tmp_path: Path) -> None:
    """`kill -9` of control: its connection's transaction and its lock are gone with it."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    databases.place(data, postgresql.create())
    with _house(data) as (house, loaded):
        for _ in range(3):
            seen = _rows(data)
            kill(control_pid(house))
            _more(loaded)
            wait_until(lambda seen=seen: _rows(data) > seen, 30.0, "collecting goes on")  # type: ignore[misc]


@contextlib.contextmanager
def _server() -> Iterator[Server]:
    """One of our own: the others' would lose theirs."""
    try:
        with databases.server() as server:
            yield server
    except databases.NoServerError as error:
        pytest.skip(str(error))


def _cut(server: Server, data: Path) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
    databases.run(server.execute(f"{cut}'{databases.url(data).database}' AND pid != pg_backend_pid()"))
