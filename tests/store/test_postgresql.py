"""O11. What is different on PostgreSQL: addresses, the one writer, connections that are cut, order, space."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gatehouse.errors import ConfigError
from gatehouse.store import engine, reading
from gatehouse.store.queries import Queries, TraceFilter
from gatehouse.store.reading import Readers
from gatehouse.store.rows import Batch, BodyPart
from gatehouse.store.schema import bodies, refusals, spans, traces
from gatehouse.store.sight import Sight
from tests.store import databases
from tests.store.databases import PASSWORD, Server
from tests.store.samples import START, call_id, concluded, contents, decided, opened

CALL = call_id()


@pytest.fixture
def server_place(postgresql: Server, tmp_path: Path) -> Path:
    """A data directory whose store is on PostgreSQL."""
    return databases.place(tmp_path, postgresql.create())


def _name(directory: Path) -> str:
    return str(databases.url(directory).database)


async def _cut(server: Server, directory: Path) -> None:
    """As a restart of the server or a firewall does it."""
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
    await server.execute(f"{cut}'{_name(directory)}'")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:hunter2@h", "name a database"),
        ("postgresql://u:hunter2@h/db?options=-csearch_path%3Dx", "no option is called options"),
        ("postgresql://u:hunter2@h/db?sslmode=require&sslmode=disable", "given twice"),
        ("postgresql+psycopg://u:hunter2@h/db", "not available"),
        ("postgresql://u:hunter2@h:port/db", "not a database URL"),
    ],
)
def test_a_wrong_address_is_named_without_its_password(tmp_path: Path, url: str, says: str) -> None:
    """I3."""
    with pytest.raises(ConfigError, match=r"database\.url: ") as failure:
        engine.locate(tmp_path, url)
    assert says in str(failure.value)
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_an_address_is_shown_without_its_password(tmp_path: Path, scheme: str) -> None:
    """I3."""
    url = engine.locate(tmp_path, f"{scheme}://user:hunter2@db.example/calls?sslmode=require")
    assert engine.shown(url) == "postgresql://db.example:5432/calls"
    assert engine.shown(engine.locate(tmp_path, f"{scheme}:///calls?host=/run/pg")) == "postgresql:///run/pg:5432/calls"


def test_sqlite_pays_nothing_for_it(tmp_path: Path) -> None:
    async def prepare() -> None:
        async with opened(tmp_path):
            pass

    asyncio.run(prepare())
    program = f"""
import asyncio, pathlib, sys
from gatehouse.store import engine, version, writing, reading
async def run():
    connected = engine.writer(engine.locate(pathlib.Path({str(tmp_path)!r}), None))
    await version.ensure(connected)
    writing.StoreWriter(connected)
    await connected.dispose()
asyncio.run(run())
print([name for name in sys.modules if "asyncpg" in name or name == "gatehouse.store.postgresql"])
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "[]"


def test_what_is_wrong_is_said_without_the_password(postgresql: Server, tmp_path: Path) -> None:
    """I3."""
    wrong = postgresql.url("postgres").replace(PASSWORD, "hunter3")
    closed = postgresql.url("postgres").replace(f":{postgresql.port}/", ":1/")
    cases = [
        (wrong, "password authentication failed"),
        (postgresql.url("nowhere"), 'database "nowhere" does not exist'),
        (closed, "Connect call failed"),
    ]

    async def run() -> None:
        for address, says in cases:
            for connected in (
                engine.writer(engine.locate(tmp_path, address)),
                engine.reader(engine.locate(tmp_path, address)),
            ):
                with pytest.raises(
                    engine.StoreError, match=f"cannot connect to the store postgresql://.*{says}"
                ) as failure:
                    async with engine.transaction(connected):
                        raise AssertionError("connected")
                assert "hunter" not in str(failure.value)
                await connected.dispose()

    asyncio.run(run())


def test_one_writer_at_a_time(server_place: Path) -> None:
    """What a lock on a file is for one machine, this is for all."""

    async def run() -> None:
        async with opened(server_place) as (writer, _):
            await writer.marks()
            second = engine.writer(databases.url(server_place))
            with pytest.raises(engine.StoreBusyError, match="another gatehouse collects into postgresql://127"):
                async with engine.transaction(second):
                    raise AssertionError("two writers")
            # Reading is for everybody.
            async with reading.open(server_place, databases.address(server_place)) as reader:
                assert await reader.last() is None
        async with engine.transaction(second):
            pass
        await second.dispose()

    asyncio.run(run())


def test_a_transaction_that_is_cut_leaves_nothing_and_the_next_one_works(
    postgresql: Server, server_place: Path
) -> None:
    async def run() -> None:
        async with opened(server_place) as (writer, writing):
            before = await contents(writing)
            with pytest.raises(engine.StoreError):
                async with engine.transaction(writing) as connection:
                    await connection.exec_driver_sql("INSERT INTO lanes VALUES ('x', 1, 'h', 1)")
                    await _cut(postgresql, server_place)
                    await connection.exec_driver_sql("INSERT INTO lanes VALUES ('y', 1, 'h', 1)")
            assert await contents(writing) == before
            await writer.apply(Batch((decided(CALL),), (concluded(CALL),)))
            # The new connection has the right to write again.
            held = "SELECT d.datname FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database WHERE "
            found = await postgresql.execute(f"{held} l.locktype = 'advisory' AND l.granted")
            assert _name(server_place) in [row[0] for row in found]

    asyncio.run(run())


def test_readers_do_not_notice_that_connections_were_cut(postgresql: Server, server_place: Path) -> None:
    async def run() -> None:
        async with opened(server_place) as (writer, _):
            await writer.apply(Batch((decided(CALL),), (concluded(CALL),)))
        readers = Readers(databases.url(server_place))
        for _ in range(2):
            assert await (await readers.queries(Sight("default"))).last() is not None
            await _cut(postgresql, server_place)
        await readers.aclose()

    asyncio.run(run())


def test_readers_cannot_write_and_see_one_state(server_place: Path) -> None:
    async def run() -> None:
        reading = engine.reader(databases.url(server_place))
        async with opened(server_place) as (_, writing):
            with pytest.raises(engine.StoreError, match="read-only transaction"):
                async with engine.transaction(reading) as connection:
                    await connection.exec_driver_sql("DELETE FROM lanes")
            async with engine.transaction(reading) as connection:
                assert (await connection.exec_driver_sql("SELECT count(*) FROM lanes")).scalar_one() == 0
                async with engine.transaction(writing) as beside:
                    await beside.exec_driver_sql("INSERT INTO lanes VALUES ('x', 1, 'h', 1)")
                assert (await connection.exec_driver_sql("SELECT count(*) FROM lanes")).scalar_one() == 0
                names = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
                assert (await connection.exec_driver_sql(names)).scalars().all() == ["gatehouse"]
        await reading.dispose()

    asyncio.run(run())


def test_text_sorts_as_on_sqlite(server_place: Path) -> None:
    """Stretches and cursors rely on it, whatever the language of the database, and whatever table comes next."""

    async def run() -> None:
        async with opened(server_place) as (_, writing), engine.transaction(writing) as connection:
            columns = (
                "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' "
                "AND data_type IN ('text', 'character varying') AND collation_name IS DISTINCT FROM 'C' "
                "AND table_name != 'alembic_version'"
            )
            assert (await connection.exec_driver_sql(columns)).scalars().all() == []

    asyncio.run(run())


def test_sums_beyond_64_bits_are_integers(server_place: Path) -> None:
    async def run() -> None:
        reading = engine.reader(databases.url(server_place))
        async with engine.transaction(reading) as connection:
            statement = "SELECT sum(x) FROM (VALUES (9223372036854775807::bigint), (1::bigint)) AS v (x)"
            found = (await connection.exec_driver_sql(statement)).scalar_one()
        assert (found, type(found)) == (2**63, int)
        await reading.dispose()

    asyncio.run(run())


def test_a_question_with_a_zero_is_answered(place: Path) -> None:
    """PostgreSQL has no U+0000 in text: nobody may make an error of that."""

    async def run() -> None:
        async with opened(place) as (writer, _):
            await writer.apply(Batch((decided(CALL, model="a\ufffdb"),)))
        reading = engine.reader(databases.url(place))
        queries = Queries(reading, Sight("default"))
        await queries.page(TraceFilter(model="a\0b", user="\0"), 5)
        assert await queries.trace("\0") is None
        await reading.dispose()

    asyncio.run(run())


def test_used_bytes_follow_what_is_there(place: Path) -> None:
    """An estimate on PostgreSQL, whose files never shrink: near enough to delete by."""
    names = [call_id(START + n * 1000, n) for n in range(3_000)]
    noise = random.Random(1)
    parts = tuple(
        BodyPart("default", "default", name, "request", 0, True, None, None, 2, False, noise.randbytes(3_000))
        for name in names
    )

    async def run() -> None:
        async with opened(place) as (writer, writing):
            empty = await writer.used_bytes()
            await writer.apply(Batch(tuple(map(decided, names)), tuple(map(concluded, names)), bodies=parts))
            full = await writer.used_bytes()
            # About 1 KB for the call, two spans of 0.7 KB, and a body of 3 KB.
            assert 0.7 < (full - empty) / (len(names) * 5_700) < 1.4
            if writing.dialect.name == "postgresql":
                async with engine.transaction(writing) as connection:
                    sizes = [
                        (
                            await connection.exec_driver_sql(f"SELECT pg_total_relation_size('{table.name}')")
                        ).scalar_one()
                        for table in (traces, spans, bodies, refusals)
                    ]
                assert 0.7 < full / sum(sizes) < 1.4
            assert await writer.forget_oldest(1_000) == 1_000
            left = await writer.used_bytes()
            assert 0.6 < (left - empty) / (full - empty) < 0.73
            assert (await contents(writing))["traces"][0][2] == names[1_000]
            while await writer.forget_oldest(1_500):
                pass
            assert await writer.used_bytes() < empty + (full - empty) * 0.1

    asyncio.run(run())
