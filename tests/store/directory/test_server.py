"""The second wall between tenants: PostgreSQL itself shows each transaction its tenant's rows and no other (I6)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import NewBinding, NewIssuer, NewToken, NewWebhook
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.schema import metadata, outbox, users
from tests.store import databases
from tests.store.databases import Server
from tests.store.directory import samples
from tests.store.directory.samples import NOW, OTHER, Opened, event, opened

_OWNER = "CREATE ROLE {name} LOGIN PASSWORD 'hunter2hunter2' {rights}"


@pytest.fixture
def server_place(postgresql: Server, tmp_path: Path) -> Path:
    """As the superuser whom the server was made by."""
    return databases.place(tmp_path, postgresql.create_empty())


def _owned(server: Server, directory: Path, name: str, rights: str = "") -> Path:
    """A database of a user of its own."""
    address = server.create_empty()
    database = address.rpartition("/")[2]
    databases.run(server.execute(_OWNER.format(name=name, rights=rights)))
    databases.run(server.execute(f"ALTER DATABASE {database} OWNER TO {name}"))
    return databases.place(directory, address.replace(f"//{databases.USER}:", f"//{name}:"))


async def _fill(made: Opened) -> None:
    """A row of each tenant in every table."""
    for directory, tenant in ((made.default, ids.DEFAULT), (made.other, OTHER)):
        project = ids.DEFAULT if tenant == ids.DEFAULT else made.project
        user, credential = samples.user(), samples.credential()
        await directory.create_user(user, event())
        await directory.create_credential(credential, event())
        await directory.bind(project, NewBinding("openai", credential.id), event())
        await directory.create_key(samples.key(project=project), event())
        await directory.create_limit(samples.limit(scope_id=tenant), event())
        issuer = NewIssuer(ids.new("issuer"), f"https://{tenant}.example", "gatehouse", ("RS256",))
        await directory.create_issuer(issuer, event())
        await directory.create_session(samples.session(user.id, tenant), event())
        await directory.create_token(NewToken(ids.new("token"), user.id, (), NOW + samples.SECOND), event())
        await directory.put_webhook(NewWebhook("https://hook.example", b"sealed"), event())


async def _seen(reading: AsyncEngine, tenant: str | None) -> dict[str, set[str]]:
    """Tenants of the rows that each table shows."""
    async with engine.transaction(reading) as connection:
        if tenant is not None:
            await access.as_tenant(connection, tenant)
        return {
            table.name: set((await connection.execute(select(table.c.tenant))).scalars())
            for table in metadata.sorted_tables
        }


async def _check_wall(made: Opened) -> None:
    await _fill(made)
    tables = [table.name for table in metadata.sorted_tables]
    for reading in (made.reading, made.writing):
        # First on a connection where no tenant was ever named, then where the last transaction named one.
        assert await _seen(reading, None) == {name: set() for name in tables}
        assert await _seen(reading, OTHER) == {name: {OTHER} for name in tables}
        assert await _seen(reading, ids.DEFAULT) == {name: {ids.DEFAULT} for name in tables}
        assert await _seen(reading, None) == {name: set() for name in tables}
    with pytest.raises(engine.StoreError, match="row-level security"):
        async with engine.transaction(made.writing) as connection:
            await access.as_tenant(connection, OTHER)
            await connection.execute(outbox.insert().values(tenant=ids.DEFAULT, id="evt_x", event="{}"))
    async with engine.transaction(made.writing) as connection:
        await access.as_tenant(connection, OTHER)
        everybody = await connection.execute(users.update().values(name="seized"))
        assert everybody.rowcount == 1


async def _role(connecting: AsyncEngine) -> tuple[str, bool, int]:
    """Who a connection works as, whether that is a superuser, and how many tables it owns."""
    async with engine.transaction(connecting) as connection:
        statement = (
            "SELECT current_user::text, rolsuper, (SELECT count(*) FROM pg_class WHERE relowner = pg_roles.oid) "
            "FROM pg_roles WHERE rolname = current_user"
        )
        found = (await connection.exec_driver_sql(statement)).mappings().one()
        return found["current_user"], found["rolsuper"], found["count"]


def test_without_a_tenant_no_table_shows_a_row(server_place: Path) -> None:
    """I6. The address's user is a superuser, whom no policy binds: connections work as a role that owns nothing."""

    async def run() -> None:
        async with opened(server_place) as made:
            for connecting in (made.writing, made.reading):
                assert await _role(connecting) == ("gatehouse_runtime", False, 0)
            await _check_wall(made)

    asyncio.run(run())


def test_an_owner_who_may_create_roles_does_not_work_as_the_owner(postgresql: Server, tmp_path: Path) -> None:
    place = _owned(postgresql, tmp_path, '"Odd Owner"', "CREATEROLE").absolute()
    address = databases.address(place)
    assert address is not None
    (place / "database.url").write_text(address.replace('"Odd Owner"', "Odd%20Owner"))

    async def run() -> None:
        async with opened(place) as made:
            assert await _role(made.writing) == ("Odd Owner_runtime", False, 0)
            await _check_wall(made)

    asyncio.run(run())


def test_an_owner_who_may_not_is_bound_as_well(postgresql: Server, tmp_path: Path) -> None:
    place = _owned(postgresql, tmp_path, "plain_owner")

    async def run() -> None:
        async with opened(place) as made:
            assert (await _role(made.writing))[0] == "plain_owner"
            await _check_wall(made)

    asyncio.run(run())


def test_a_role_that_somebody_else_made_is_used(postgresql: Server, tmp_path: Path) -> None:
    place = _owned(postgresql, tmp_path, "guarded_owner")

    async def run() -> None:
        async with opened(place) as made:
            assert (await _role(made.writing))[0] == "guarded_owner"
        await postgresql.execute("CREATE ROLE guarded_owner_runtime NOLOGIN NOINHERIT")
        await postgresql.execute("GRANT guarded_owner_runtime TO guarded_owner")
        async with samples.bare(place) as (writing, reading):
            for connecting in (writing, reading):
                assert await _role(connecting) == ("guarded_owner_runtime", False, 0)

    asyncio.run(run())


def test_tables_in_the_users_own_schema_are_found(postgresql: Server, tmp_path: Path) -> None:
    """`"$user"` in the search path means somebody else once the connection works as another role."""
    place = _owned(postgresql, tmp_path, "schema_owner", "CREATEROLE")
    address = databases.address(place)
    assert address is not None
    databases.run(databases.execute(address, "CREATE SCHEMA schema_owner"))

    async def run() -> None:
        async with opened(place) as made:
            assert (await _role(made.writing))[0] == "schema_owner_runtime"
            await _check_wall(made)

    asyncio.run(run())


def test_a_policy_that_was_dropped_is_back_at_the_next_start(server_place: Path, postgresql: Server) -> None:
    async def run() -> None:
        async with opened(server_place) as made:
            await _fill(made)
        address = databases.address(server_place)
        assert address is not None
        await databases.execute(address, "DROP POLICY tenant ON dir_keys")
        await databases.execute(address, "ALTER TABLE dir_users DISABLE ROW LEVEL SECURITY")
        await databases.execute(address, "REVOKE ALL ON dir_limits FROM gatehouse_runtime")
        async with samples.bare(server_place) as (_, reading):
            assert await _seen(reading, OTHER) == {table.name: {OTHER} for table in metadata.sorted_tables}

    asyncio.run(run())


def test_a_commit_waits_for_the_disk(server_place: Path) -> None:
    async def run() -> None:
        async with opened(server_place) as made, engine.transaction(made.writing) as connection:
            assert (await connection.exec_driver_sql("SHOW synchronous_commit")).scalar_one() == "on"

    asyncio.run(run())


def test_tenants_do_not_wait_for_each_other(server_place: Path) -> None:
    async def run() -> None:
        async with opened(server_place) as made:
            async with made.default.together() as open_change:
                await open_change.record(event())
                await asyncio.wait_for(made.other.record(event()), 30)

    asyncio.run(run())


def test_connections_that_were_cut_are_replaced_unnoticed(server_place: Path) -> None:
    async def run() -> None:
        async with opened(server_place) as made:
            address = databases.address(server_place)
            assert address is not None
            await made.default.tenant()
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            await databases.execute(address, f"{cut} AND datname = current_database()")
            assert (await Directory(made.writing, OTHER).tenant()).name == "Other"

    asyncio.run(run())


def test_zeros_are_looked_for_in_vain(server_place: Path) -> None:
    """The server takes no U+0000: what a caller sends must not become a failure of the store."""

    async def run() -> None:
        async with opened(server_place) as made:
            created = await made.default.create_project(samples.project(name="a\0b"), event())
            assert created.name == "a\ufffdb"

    asyncio.run(run())
