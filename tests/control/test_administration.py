"""What follows a change: the journal gets every event (I2's like for administration), the workers get the snapshot."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet

from gatehouse.auth.vault import Vault
from gatehouse.config.loads import Loads
from gatehouse.config.settings import Callouts, Journal
from gatehouse.control.administration import Administration, Engines, Means, Publishes
from gatehouse.control.callout import Callout
from gatehouse.control.publishing import NotPublishedError
from gatehouse.gateway import persisted
from gatehouse.journal.lines import JournalError
from gatehouse.journal.writer import JournalWriter
from gatehouse.ports import Written
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import NewTenant
from tests.control.doors import Lines, Workers, event
from tests.control.workers import published
from tests.store import databases
from tests.store.directory.samples import key, project


@asynccontextmanager
async def opened(place: Path, journal: Any, publisher: Publishes | None = None) -> AsyncIterator[Administration]:
    engines = Engines(access.located(databases.url(place)))
    means = Means(Vault([Fernet.generate_key()]), {}, Callout(Callouts()), "http://127.0.0.1:8080")
    try:
        yield Administration(engines, journal, publisher or Workers(), means)
    finally:
        await engines.aclose()


class Full:
    """A journal that takes nothing, or never says so."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.asked = 0

    def append(self, kind: str, body: msgspec.Struct, tenant: str = "", *, written: Written | None = None) -> None:
        self.asked += 1
        if not self.silent:
            raise JournalError("full")


def test_events_go_into_the_journal_and_leave_the_outbox(place: Path) -> None:
    async def test() -> None:
        writer = JournalWriter(place / "journal", "control", Journal(), asyncio.get_running_loop())
        writer.open()
        async with opened(place, writer) as administration:
            await administration.open()
            await administration.operator.create_tenant(NewTenant(ids.DEFAULT, "default"), event("tenant.create", "x"))
            directory = administration.tenant(ids.DEFAULT)
            for number in range(250):
                await directory.record(event("auth.login", f"usr_{number}"))
            await administration.changed()
            assert await administration.operator.outbox() == []
        writer.close()
        lines = [
            json.loads(line) for path in (place / "journal").glob("*/0*") for line in path.read_text().splitlines()
        ]
        told = [line for line in lines if json.dumps(line).find("auth.login") >= 0]
        assert len(told) == 250

    asyncio.run(test())


def test_what_the_journal_does_not_take_waits(place: Path) -> None:
    """Nothing is lost: the next process, or the next second, puts it on record."""

    async def test() -> None:
        full = Full(silent=False)
        async with opened(place, full) as administration:
            await administration.open()
            await administration.operator.create_tenant(NewTenant(ids.DEFAULT, "default"), event("tenant.create", "x"))
            await administration.changed()
            assert full.asked == 1 and len(await administration.operator.outbox()) == 1
        lines = Lines()
        async with opened(place, lines) as administration:
            await administration.open()
            assert [each.action for _, each in lines.events] == ["tenant.create"]
            assert await administration.operator.outbox() == []

    asyncio.run(test())


class Refusing(Workers):
    """Workers that nothing reaches."""

    async def publish(self, cut: tuple[str, ...] = ()) -> int:
        raise NotPublishedError("the change is stored, and comes into force later")


def test_only_what_takes_something_away_must_be_in_force(place: Path) -> None:

    async def test() -> None:
        async with opened(place, Full(silent=False), Refusing()) as administration:
            await administration.open()
            await administration.changed()
            with pytest.raises(NotPublishedError):
                await administration.revoked()

    asyncio.run(test())


def test_what_others_change_is_published(place: Path) -> None:
    """Another machine, or a command while nothing ran here."""

    async def test() -> None:
        published = asyncio.Event()

        class Told(Workers):
            async def publish(self, cut: tuple[str, ...] = ()) -> int:
                published.set()
                return 1

        async with opened(place, Full(silent=False), Told()) as administration:
            running = asyncio.create_task(administration.run())
            await asyncio.wait_for(published.wait(), 30)
            published.clear()
            await administration.operator.create_tenant(
                NewTenant(ids.new("tenant"), "more"), event("tenant.create", "x")
            )
            await asyncio.wait_for(published.wait(), 30)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(test())


def test_a_key_is_in_the_snapshot_when_it_is_made_and_out_of_it_when_it_is_revoked(tmp_path: Path) -> None:
    """The real publisher: what `changed` and `revoked` wait for is on disk."""

    async def test() -> None:
        loads = Loads.create(1)
        engines = Engines(access.located(databases.url(tmp_path)))
        path = tmp_path / "snapshot.bin"
        means = Means(Vault([Fernet.generate_key()]), {}, Callout(Callouts()), "http://127.0.0.1:8080")
        async with published(tmp_path, loads, engines.sections) as publisher:
            administration = Administration(engines, Lines(), publisher, means)
            await administration.open()
            await administration.operator.create_tenant(NewTenant(ids.DEFAULT, "default"), event("tenant.create", "x"))
            directory = administration.tenant(ids.DEFAULT)
            await directory.create_project(project(id=ids.DEFAULT), event("project.create", ids.DEFAULT))
            new = key()
            await directory.create_key(new, event("key.create", new.id))
            await administration.changed()
            found = persisted.read(path)
            assert found is not None and found.keys[new.id].digest == new.digest
            await directory.revoke_key(new.id, event("key.revoke", new.id))
            await administration.revoked()
            found = persisted.read(path)
            assert found is not None and found.keys == {}
        await engines.aclose()
        os.close(loads.fd)

    asyncio.run(test())
