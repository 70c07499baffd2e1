"""The second wall between tenants: PostgreSQL shows a reader's transaction its tenant's rows and no other (I6)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine, version
from gatehouse.store.queries import Queries, TraceFilter
from gatehouse.store.schema import metadata
from gatehouse.store.sight import Sight
from tests.store import databases
from tests.store.databases import Server
from tests.store.samples import opened

TENANTS = ("default", "ten_x")
WALLED = [table for table in metadata.sorted_tables if "tenant" in table.columns]


@pytest.fixture
def server_place(postgresql: Server, tmp_path: Path) -> Path:
    return databases.place(tmp_path, postgresql.create())


async def _fill(writing: AsyncEngine) -> None:
    """A row of each tenant in every table."""
    values = {str: "x", int: 1, bool: False, bytes: b"x"}
    async with engine.transaction(writing) as connection:
        for table in WALLED:
            needed = [column for column in table.columns if not column.nullable and column.autoincrement is not True]
            for tenant in TENANTS:
                row = {column.name: values[column.type.python_type] for column in needed}
                await connection.execute(table.insert().values(**(row | {"tenant": tenant})))


async def _seen(reading: AsyncEngine, tenant: str | None) -> dict[str, set[str]]:
    """Tenants of the rows that each table shows."""
    async with engine.transaction(reading, tenant) as connection:
        return {table.name: set((await connection.execute(select(table.c.tenant))).scalars()) for table in WALLED}


def _all(*tenants: str) -> dict[str, set[str]]:
    return {table.name: set(tenants) for table in WALLED}


async def _check_wall(place: Path) -> None:
    async with opened(place) as (_, writing):
        await _fill(writing)
        assert await _seen(writing, None) == _all(*TENANTS)
    reading, everybody = engine.reader(databases.url(place)), engine.reader(databases.url(place), everybody=True)
    try:
        # First on a connection where no tenant was ever named, then where the last transaction named one.
        for tenant in (None, "ten_x", "default", None, "ten_y"):
            assert await _seen(reading, tenant) == (_all(tenant) if tenant in TENANTS else _all())
        assert await _seen(everybody, None) == _all(*TENANTS)
        await version.check(reading)
        for tenant in TENANTS:
            assert len((await Queries(reading, Sight(tenant)).page(TraceFilter(), 10)).items) == 1
    finally:
        await reading.dispose()
        await everybody.dispose()


def test_without_a_tenant_no_table_shows_a_row(server_place: Path) -> None:
    """I6. The address's user is a superuser, whom no policy binds: readers work as a role that owns nothing."""
    asyncio.run(_check_wall(server_place))


def test_an_owner_who_may_not_create_roles_is_bound_as_well(postgresql: Server, tmp_path: Path) -> None:
    databases.run(postgresql.execute("CREATE ROLE store_owner LOGIN PASSWORD 'hunter2hunter2'"))
    address = postgresql.create_empty()
    databases.run(postgresql.execute(f"ALTER DATABASE {address.rpartition('/')[2]} OWNER TO store_owner"))
    asyncio.run(_check_wall(databases.place(tmp_path, address.replace("gatehouse:", "store_owner:"))))


def test_what_was_taken_away_is_back_at_the_next_start(server_place: Path) -> None:
    address = databases.address(server_place)
    assert address is not None
    for statement in (
        "DROP POLICY tenant ON traces",
        "ALTER TABLE spans DISABLE ROW LEVEL SECURITY",
        "REVOKE ALL ON bodies FROM gatehouse_runtime",
    ):
        databases.run(databases.execute(address, statement))
    asyncio.run(_check_wall(server_place))
