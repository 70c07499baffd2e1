"""A directory on a real database with two tenants in it, and what tests put there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.auth.sessions import Standing
from gatehouse.store import engine
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import (
    Event,
    NewCredential,
    NewKey,
    NewLimit,
    NewProject,
    NewSession,
    NewTenant,
    NewUser,
)
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.operator import OperatorStore
from gatehouse.store.directory.schema import metadata
from tests.store import databases

NOW = 1_763_700_000_000_000
"""Microseconds since the epoch."""
SECOND = 1_000_000
OTHER = ids.new("tenant")


class Opened(msgspec.Struct):
    """Two tenants, `default` and `OTHER`, each with its project."""

    writing: AsyncEngine
    reading: AsyncEngine
    project: str
    """Of the other tenant; the first one's is `default`."""

    @property
    def default(self) -> Directory:
        return Directory(self.writing, ids.DEFAULT)

    @property
    def other(self) -> Directory:
        return Directory(self.writing, OTHER)

    @property
    def operator(self) -> OperatorStore:
        return OperatorStore(self.writing)

    async def rows(self) -> dict[str, list[Any]]:
        """All there is, by table."""
        async with engine.transaction(self.writing) as connection:
            await access.as_operator(connection)
            return {table.name: list(await connection.execute(select(table))) for table in metadata.sorted_tables}


@asynccontextmanager
async def bare(directory: Path) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    """A writer and a reader of an empty directory."""
    url = access.located(databases.url(directory))
    await access.prepare(url)
    writing, reading = access.writer(url), access.reader(url)
    try:
        yield writing, reading
    finally:
        await writing.dispose()
        await reading.dispose()


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Opened]:
    async with bare(directory) as (writing, reading):
        made = Opened(writing, reading, ids.new("project"))
        await made.operator.create_tenant(NewTenant(ids.DEFAULT, "default"), event())
        await made.operator.create_tenant(NewTenant(OTHER, "Other"), event())
        await made.default.create_project(project(id=ids.DEFAULT), event())
        await made.other.create_project(project(id=made.project), event())
        yield made


def event(action: str = "key.create", at: int = NOW, **changed: Any) -> Event:
    made = Event(ids.new("event"), at, "user", action, "key", "key_x", actor="usr_x", details={"overlap_seconds": 60})
    return msgspec.structs.replace(made, **changed)


def project(**changed: Any) -> NewProject:
    made = NewProject(ids.new("project"), str(ids.uuid7()), "Main", environment="prod", team="core")
    return msgspec.structs.replace(made, **changed)


def user(**changed: Any) -> NewUser:
    made = NewUser(ids.new("user"), "Ada@Example.com", "developer", name="Ada", password_hash="$argon2id$…")
    return msgspec.structs.replace(made, **changed)


def credential(**changed: Any) -> NewCredential:
    made = NewCredential(
        ids.new("credential"),
        "Main account",
        "openai",
        "https://api.openai.com",
        "api_key",
        b"sealed-secret",
        "abcd",
        settings={"region": "eu"},
        weight=3,
    )
    return msgspec.structs.replace(made, **changed)


def key(**changed: Any) -> NewKey:
    made_id = changed.get("id", ids.new("key"))
    made = NewKey(made_id, digest(made_id), "wxyz", ids.DEFAULT, owner="ci", scopes=("chat", "models"))
    return msgspec.structs.replace(made, **changed)


def limit(**changed: Any) -> NewLimit:
    made = NewLimit(ids.new("limit"), "tenant", ids.DEFAULT, "requests", "minute", 60)
    return msgspec.structs.replace(made, **changed)


def session(who: str, text: str = "one", **changed: Any) -> NewSession:
    """Begun now; `changed` of its standing."""
    began = NOW // SECOND
    stands = Standing(digest(text), None, began=began, rotated=began, seen=began, rights="developer")
    return NewSession(ids.new("session"), who, replace(stands, **changed))


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
