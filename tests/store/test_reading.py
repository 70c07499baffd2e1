"""The CLI's way into the store: read only, with a server running or not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.errors import ConfigError
from gatehouse.store import engine, reading
from gatehouse.store.rows import Batch
from tests.store import databases
from tests.store.samples import START, call_id, concluded, decided, opened


def test_report_and_calls_are_read_while_the_collector_writes(place: Path) -> None:
    """O5."""
    address = databases.address(place)
    first, second = call_id(START), call_id(START + 1_000_000)

    async def run() -> None:
        async with opened(place) as (writer, writing):
            await writer.apply(Batch((decided(first),), (concluded(first),)))
            async with reading.open(place, address) as reader, engine.transaction(writing) as connection:
                await connection.exec_driver_sql("DELETE FROM traces")
                last = await reader.last()
                assert last is not None and last.id == first
                assert (await reader.report()).calls == 1
            await writer.apply(Batch((decided(second),)))
        async with reading.open(place, address) as reader:
            last = await reader.last()
            assert last is not None and last.id == second
            found = await reader.trace(second)
            assert found == last
            assert await reader.trace(first) is None
        async with reading.open(place, address, tenant="other") as reader:
            assert await reader.last() is None

    asyncio.run(run())


def test_before_the_first_start_there_is_nothing_to_read(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading.open(tmp_path):
            raise AssertionError("opened what is not there")

    with pytest.raises(engine.StoreMissingError, match="no store at .*; it is made when `gatehouse serve` first runs"):
        asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "store.db").touch()
    with pytest.raises(engine.StoreMissingError, match="holds no tables yet"):
        asyncio.run(run())


def test_a_wrong_address_is_a_configuration_error(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading.open(tmp_path, "oracle://x"):
            raise AssertionError("opened what is not there")

    with pytest.raises(ConfigError, match=r"database\.url"):
        asyncio.run(run())
