"""Row-level security on PostgreSQL: a second wall between tenants, behind the tenant that every statement names (I6).

Rules: only `postgresql` and `directory.server` use this. Each table that has a tenant shows the rows of the one that
the transaction names, all of them to whoever says it is the operator's, and else none; that binds the tables' owner too
(FORCE). Superusers and roles with BYPASSRLS are above any policy: so whoever works for a tenant does so as a role that
owns nothing, `<user>_runtime`, wherever the address's user may create one. All this is against statements that forgot
their tenant; it does not hold somebody who can run statements of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

ALL: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
READING: Final = ("SELECT",)

_SHOW: Final = text(
    "SELECT set_config('gatehouse.tenant', :tenant, true), set_config('gatehouse.operator', :operator, true)"
)
_EVERYTHING: Final = "SELECT set_config('gatehouse.operator', 'on', false)"
# As sub-queries they are looked up once per statement, not once per row. Inside `coalesce` a comparison says nothing to
# the planner: it would think that of the tenant's rows only few are the tenant's, and sort what an index has in order.
_MINE: Final = (
    "coalesce(tenant = (SELECT current_setting('gatehouse.tenant', true)), false) "
    "OR coalesce((SELECT current_setting('gatehouse.operator', true)) = 'on', false)"
)
_ROLE_NAME: Final = "left(session_user, 55) || '_runtime'"
"""Names have at most 63 bytes."""
_ROLE: Final = f"""
    SELECT rolname::text FROM pg_roles
    WHERE rolname = {_ROLE_NAME} AND pg_has_role(session_user, oid, 'MEMBER')
"""  # noqa: S608 - our own words
_USABLE: Final = f"""
    SELECT quote_ident(rolname) FROM ({_ROLE}) AS role WHERE has_table_privilege(rolname, to_regclass($1), 'SELECT')
"""  # noqa: S608
_MAY_CREATE_ROLES: Final = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = session_user"
_CREATE_ROLE: Final = f"""
DO $$
DECLARE role name := {_ROLE_NAME};
BEGIN
    EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role);
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
_GRANT_ROLE: Final = f"""
DO $$ BEGIN EXECUTE format('GRANT %I TO %I', {_ROLE_NAME}, session_user); END $$
"""
_OWNED: Final = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1)"
_WALLED: Final = """
    SELECT relrowsecurity AND relforcerowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid)
    FROM pg_class WHERE oid = to_regclass($1)
"""
_HAS_RIGHTS: Final = """
    SELECT bool_and(has_table_privilege($1, to_regclass($2), one)) FROM unnest(string_to_array($3, ',')) AS one
"""


async def wall_off(connection: AsyncConnection, tables: Iterable[Table], version: str, rights: tuple[str, ...]) -> None:
    """Each of the tables that has a tenant has its policy, and the role without ownership has `rights` on all of them,
    where such a role can be; it may read the table `version` too.

    Does nothing where all is in place, and nothing to tables that are somebody else's. Raises what the driver raises.
    """
    names = {table.name: "tenant" in table.columns for table in tables if await _found(connection, _OWNED, table.name)}
    for name, has_tenant in names.items():
        if has_tenant and not await _found(connection, _WALLED, name):
            for statement in (
                f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
                f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
                f"DROP POLICY IF EXISTS tenant ON {name}",
                f"CREATE POLICY tenant ON {name} USING ({_MINE}) WITH CHECK ({_MINE})",
            ):
                await connection.exec_driver_sql(statement)
    role = await _role(connection)
    if role is None:
        return
    quoted = connection.dialect.identifier_preparer.quote(role)
    if not await _found(connection, "SELECT has_schema_privilege($1, current_schema(), 'USAGE')", role):
        schema = await _found(connection, "SELECT quote_ident(current_schema())")
        await connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {quoted}")
    for name, wanted in (*((name, rights) for name in names), (version, READING)):
        if not await _found(connection, _HAS_RIGHTS, role, name, ",".join(wanted)):
            await connection.exec_driver_sql(f"GRANT {', '.join(wanted)} ON {name} TO {quoted}")


async def show(connection: AsyncConnection, *, tenant: str = "", operator: bool = False) -> None:
    """Whose rows are there until the transaction ends."""
    await connection.execute(_SHOW, {"tenant": tenant, "operator": "on" if operator else ""})


async def show_everything(connection: asyncpg.Connection) -> None:
    """All rows are there, in every transaction of this connection."""
    await connection.execute(_EVERYTHING)


async def give_up_ownership(connection: asyncpg.Connection, table: str) -> None:
    """Work as the role that owns nothing, if it may read this table."""
    role = await connection.fetchval(_USABLE, table)
    if role is not None:
        # "$user" in the search path would be the role's name from now on.
        await connection.execute("SELECT set_config('search_path', quote_ident(current_schema()), false)")
        await connection.execute(f"SET ROLE {role}")


async def _role(connection: AsyncConnection) -> str | None:
    """The role that owns nothing, made where it is missing and may be made."""
    role: str | None = await _found(connection, _ROLE)
    if role is None and await _found(connection, _MAY_CREATE_ROLES):
        for statement in (_CREATE_ROLE, _GRANT_ROLE):
            await connection.exec_driver_sql(statement)
        role = await _found(connection, _ROLE)
    return role


async def _found(connection: AsyncConnection, statement: str, *values: str) -> Any:
    return (await connection.exec_driver_sql(statement, values)).scalar_one_or_none()
