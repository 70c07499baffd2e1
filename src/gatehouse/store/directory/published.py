"""What workers are told of the directory: its rows as entries of the snapshot.

Rules: revoked keys, disabled or deleted credentials and issuers, deleted projects and limits are not there; disabled
tenants, projects and keys are, and say so, since they are answered otherwise than unknown ones. What has an end of its
own is there until then and after: the worker compares times. A key that was rotated ends when it retires. A project
keeps its binding to a credential that is disabled: its callers are not sent elsewhere behind its back. A key is worth
what the people behind it may do now: it is disabled if its user may make no calls, and opens nothing on the data plane
if its own role may make none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.auth.roles import Permission, allowed
from gatehouse.auth.scopes import worth
from gatehouse.model.access import Binding, CredentialEntry, IssuerEntry, KeyEntry, ProjectEntry, TenantEntry
from gatehouse.model.limits import LimitEntry
from gatehouse.model.snapshot import Sections
from gatehouse.store import times
from gatehouse.store.directory.people import role_now
from gatehouse.store.directory.schema import bindings, credentials, issuers, keys, limits, projects, tenants, users

_SLICE: Final = 200
_AS_THEY_ARE: Final = ("api_key", "aws_keys")
"""Kinds whose secret serves calls by itself, without a token."""


async def read(connection: AsyncConnection, revision: int) -> Sections:
    """Everything, in a transaction that sees all tenants."""
    return Sections(
        revision=revision,
        tenants={row.tenant: TenantEntry(row.tenant, row.disabled) async for row in _rows(connection, select(tenants))},
        projects=await _projects(connection),
        keys={row.id: _key(row) async for row in _rows(connection, _valid_keys())},
        credentials=await _credentials(connection),
        issuers=await _issuers(connection),
        limits=await _limits(connection),
    )


async def _rows(connection: AsyncConnection, statement: Select[Any]) -> AsyncIterator[Any]:
    """One by one; others get their turn in between."""
    for number, row in enumerate(await connection.execute(statement), 1):
        yield row
        if number % _SLICE == 0:
            await asyncio.sleep(0)


async def _projects(connection: AsyncConnection) -> dict[str, ProjectEntry]:
    bound: dict[tuple[str, str], list[Binding]] = {}
    same = and_(credentials.c.tenant == bindings.c.tenant, credentials.c.id == bindings.c.credential)
    weight = func.coalesce(bindings.c.weight, credentials.c.weight).label("share")
    order = (bindings.c.tenant, bindings.c.project, bindings.c.provider, bindings.c.credential)
    async for row in _rows(connection, select(*order, weight).join(credentials, same).order_by(*order)):
        bound.setdefault((row.tenant, row.project), []).append(Binding(row.provider, row.credential, row.share))
    return {
        row.id: ProjectEntry(
            id=row.id,
            tenant=row.tenant,
            uuid=row.uuid,
            environment=row.environment,
            team=row.team,
            own_keys=row.own_keys,
            bindings=tuple(bound.get((row.tenant, row.id), ())),
            disabled=row.disabled,
        )
        async for row in _rows(connection, select(projects).where(projects.c.deleted_at.is_(None)))
    }


def _valid_keys() -> Select[Any]:
    user, maker = users.alias("person"), users.alias("maker")
    columns = select(keys, role_now(user).label("user_role"), role_now(maker).label("maker_role"))
    return (
        columns.outerjoin(user, and_(user.c.tenant == keys.c.tenant, user.c.id == keys.c.user_id))
        .outerjoin(maker, and_(maker.c.tenant == keys.c.tenant, maker.c.id == keys.c.created_by))
        .where(keys.c.revoked_at.is_(None))
    )


def _key(row: Any) -> KeyEntry:
    ends = [end for end in (row.expires_at, row.retires_at) if end is not None]
    idle = row.user_id is not None and not allowed(row.user_role, Permission.PROXY_WRITE)
    calls = row.role is None or allowed(row.role, Permission.PROXY_WRITE)
    return KeyEntry(
        id=row.id,
        tenant=row.tenant,
        project=row.project,
        digest=row.digest,
        environment=row.environment,
        user=row.user_id,
        scopes=worth(row.scopes, (row.user_role, row.maker_role)) if calls else (),
        models=tuple(row.models),
        providers=tuple(row.providers),
        addresses=tuple(row.addresses),
        expires=min(ends) // times.SECOND if ends else None,
        disabled=row.disabled_at is not None or idle,
        role=row.role,
        counts_as=None if row.counts_as == row.id else row.counts_as,
    )


async def _credentials(connection: AsyncConnection) -> dict[str, CredentialEntry]:
    """Those that can serve: a secret from which no token was made yet cannot."""
    found: dict[str, CredentialEntry] = {}
    there = and_(credentials.c.deleted_at.is_(None), ~credentials.c.disabled)
    async for row in _rows(connection, select(credentials).where(there)):
        sealed = row.sealed if row.kind in _AS_THEY_ARE else row.token
        if sealed is not None:
            found[row.id] = CredentialEntry(
                id=row.id,
                tenant=row.tenant,
                provider=row.provider,
                origin=row.origin,
                kind=row.kind,
                sealed=sealed,
                test=row.test,
                exclusive=row.exclusive,
                retiring=row.retiring_at is not None,
            )
    return found


async def _issuers(connection: AsyncConnection) -> dict[str, IssuerEntry]:
    return {
        row.id: IssuerEntry(
            id=row.id,
            tenant=row.tenant,
            issuer=row.issuer,
            audience=row.audience,
            algorithms=tuple(row.algorithms),
            jwks=row.jwks or b"",
            user_claim=row.user_claim,
            groups_claim=row.groups_claim,
            service_claim=row.service_claim,
            project=row.project,
            scopes=tuple(row.scopes),
        )
        async for row in _rows(connection, select(issuers).where(~issuers.c.disabled))
    }


async def _limits(connection: AsyncConnection) -> dict[str, LimitEntry]:
    columns = [limits.c[name] for name in LimitEntry.__struct_fields__]
    statement = select(*columns).where(limits.c.deleted_at.is_(None))
    return {row.id: LimitEntry(*row) async for row in _rows(connection, statement)}
