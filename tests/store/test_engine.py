"""How the store is reached: addresses, connections and their errors."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.errors import ConfigError
from gatehouse.store import engine, version
from tests.store.samples import opened


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "not a database URL"),
        ("oracle://u:secret@h/db", "oracle is not available"),
        ("mysql+aiomysql://u:secret@h/db", "not available"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///x.db?mode=ro", "name a file"),
        ("sqlite:///file:x.db", "name a file"),
    ],
)
def test_a_wrong_database_url_is_named_without_its_password(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(ConfigError, match="database.url: ") as failure:
        engine.locate(tmp_path, url)
    assert says in str(failure.value)
    assert "secret" not in str(failure.value)


def test_the_store_is_in_the_data_directory_unless_configured(tmp_path: Path) -> None:
    assert engine.locate(tmp_path, None).database == str(tmp_path / "store.db")
    assert engine.locate(tmp_path, "sqlite:////var/x.db").database == "/var/x.db"
    assert engine.locate(tmp_path, "sqlite+aiosqlite:///y.db").database == str(tmp_path / "y.db")


def test_a_reader_reads_while_the_writer_writes_and_cannot_write(tmp_path: Path) -> None:
    async def run() -> None:
        reading = engine.reader(engine.locate(tmp_path, None))
        async with opened(tmp_path) as (_, writing):
            async with engine.transaction(writing) as connection:
                await connection.exec_driver_sql("INSERT INTO lanes VALUES ('x', 1, 'h', 1)")
                async with engine.transaction(reading) as beside:
                    assert (await beside.exec_driver_sql("SELECT count(*) FROM lanes")).scalar_one() == 0
            with pytest.raises(engine.StoreError, match="readonly"):
                async with engine.transaction(reading) as beside:
                    await beside.exec_driver_sql("DELETE FROM lanes")
            async with engine.transaction(reading) as beside:
                assert (await beside.exec_driver_sql("SELECT count(*) FROM lanes")).scalar_one() == 1
        await reading.dispose()

    asyncio.run(run())


def test_a_failed_transaction_leaves_nothing(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (writer, writing):
            with pytest.raises(engine.StoreError, match="no such table|does not exist"):
                async with engine.transaction(writing) as connection:
                    await connection.exec_driver_sql("INSERT INTO lanes VALUES ('x', 1, 'h', 1)")
                    await connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")
            assert await writer.marks() == {}

    asyncio.run(run())


def test_what_is_no_database_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, " * 1000)

    async def run() -> None:
        writing = engine.writer(engine.locate(tmp_path, None))
        try:
            with pytest.raises(engine.StoreError, match=r"store\.db failed: file is not a database"):
                await version.ensure(writing)
        finally:
            await writing.dispose()

    asyncio.run(run())


def test_a_directory_that_is_not_there_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(engine.StoreError, match=r"cannot open the store .*store\.db: No such file"):
        engine.writer(engine.locate(tmp_path / "missing", None))


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    url = engine.locate(tmp_path, None)
    assert engine.identity(url) is None
    with pytest.raises(engine.StoreMissingError, match="no store at"):
        engine.check_present(url)
    (tmp_path / "store.db").touch()
    first = engine.identity(url)
    (tmp_path / "other").touch()
    (tmp_path / "other").rename(tmp_path / "store.db")
    assert engine.identity(url) not in (None, first)
