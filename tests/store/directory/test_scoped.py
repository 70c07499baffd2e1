"""Changes and their events are one; changes wait for each other; pages go by keyset; tenants are apart (I6)."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from pathlib import Path

import pytest

from gatehouse.store import engine
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import KeyFilter, NewBinding, NewWebhook, ProjectFilter, TenantChange
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.errors import InUse, NotThere, Taken
from gatehouse.store.directory.operator import OperatorStore
from gatehouse.store.directory.views import Key, Page
from gatehouse.store.present import CursorError, cursor
from tests.store import databases
from tests.store.directory.samples import OTHER, event, key, opened, project, user

_NONE = NewBinding("openai", "crd_x")


def test_no_method_takes_a_tenant() -> None:
    """I6: there is no way to ask without one, and none to name another."""
    for name, method in inspect.getmembers(Directory, inspect.isfunction):
        if not name.startswith("_"):
            assert "tenant" not in inspect.signature(method).parameters, name


def test_a_change_and_its_event_are_one_transaction(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            await made.operator.journalled([each.event.id for each in await made.operator.outbox()])
            done, failed = event("project.create"), event("project.create")
            await made.default.create_project(project(name="New"), done)
            with pytest.raises(Taken, match="a project called nEW already"):
                await made.default.create_project(project(name="nEW"), failed)
            [outgoing] = await made.operator.outbox()
            assert (outgoing.tenant, outgoing.event) == (ids.DEFAULT, done)

    asyncio.run(run())


def test_a_tenant_that_is_not_there_changes_nothing(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            nobody = Directory(made.writing, ids.new("tenant"))
            before = await made.rows()
            for published in (nobody.create_project(project(), event()), nobody.record(event())):
                with pytest.raises(NotThere, match="there is no tenant ten_"):
                    await published
            with pytest.raises(NotThere):
                await nobody.tenant()
            assert await made.rows() == before

    asyncio.run(run())


def test_what_is_done_together_is_done_or_not(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            before = await made.rows()
            with pytest.raises(NotThere):
                async with made.default.together() as change:
                    await change.create_project(project(name="One"), event())
                    assert len((await change.projects(ProjectFilter(), 10)).items) == 2
                    await change.create_key(key(project="prj_x"), event())
            assert await made.rows() == before
            await made.operator.journalled([each.event.id for each in await made.operator.outbox()])
            async with made.default.together() as change:
                taken = event()
                for wrong in (change.create_project(project(name="MAIN"), taken), change.bind("x", _NONE, taken)):
                    with pytest.raises((Taken, NotThere)):
                        await wrong
                made_project = await change.create_project(project(name="One"), event())
                for _ in range(3):
                    await change.create_key(key(project=made_project.id), event())
            assert len((await made.default.keys(KeyFilter(project=made_project.id), 10)).items) == 3
            # What was refused on the way left no event.
            assert taken not in [each.event for each in await made.operator.outbox()]
            assert len(await made.operator.outbox()) == 4

    asyncio.run(run())


def test_changes_of_several_machines_come_one_after_the_other(place: Path) -> None:
    """Of many who see that a name is free, one gets it; of two owners who each leave, one stays."""

    async def run() -> None:
        async with opened(place) as made:
            url = access.located(databases.url(place))
            engines = [access.writer(url) for _ in range(3)]
            try:
                before = await made.operator.revision()
                same = [Directory(each, ids.DEFAULT).create_project(project(name="Same"), event()) for each in engines]
                found = await asyncio.gather(*same, return_exceptions=True)
                assert sorted(type(each).__name__ for each in found) == ["Project", "Taken", "Taken"]
                assert await made.operator.revision() == before + 1
                one, two = user(email="a@x.de", role="owner"), user(email="b@x.de", role="owner")
                await made.default.create_user(one, event())
                await made.default.create_user(two, event())
                leave = [
                    Directory(each, ids.DEFAULT).erase_user(who.id, event())
                    for each, who in zip(engines, (one, two), strict=False)
                ]
                left = await asyncio.gather(*leave, return_exceptions=True)
                assert [type(each) for each in left if each is not None] == [InUse]
            finally:
                for each in engines:
                    await each.dispose()

    asyncio.run(run())


def test_what_another_tenant_has_is_taken_without_a_word_about_it(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            theirs, label = key(project=made.project), "plan" + "ted"
            await made.other.create_key(theirs, event())
            before = await made.rows()
            with pytest.raises(Taken, match=r"^something that must be unique is in use already$") as refused:
                await made.default.create_key(key(digest=theirs.digest, owner=label), event())
            # Nor do logs that show where an error comes from.
            told = "".join(traceback.format_exception(refused.value))
            assert "INSERT INTO dir_keys" in told
            assert label not in told
            assert repr(theirs.digest) not in told
            with pytest.raises(Taken):
                async with made.default.together() as change:
                    await change.create_key(key(digest=theirs.digest), event())
            async with made.default.together() as change:
                with pytest.raises(Taken):
                    await change.create_key(key(digest=theirs.digest), event())
                await change.keys(KeyFilter(), 1)
            assert await made.rows() == before

    asyncio.run(run())


async def _walked(directory: Directory, limit: int) -> list[Page[Key]]:
    pages = [await directory.keys(KeyFilter(), limit)]
    while pages[-1].next_cursor is not None and len(pages) < 20:
        pages.append(await directory.keys(KeyFilter(), limit, pages[-1].next_cursor))
    return pages


def test_pages_are_walked_by_keyset_newest_first(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            names = []
            for _ in range(7):
                names.append((await made.default.create_key(key(), event())).id)
            await made.other.create_key(key(project=made.project), event())
            newest_first = sorted(names, reverse=True)
            pages = await _walked(made.default, 3)
            assert [[item.id for item in page.items] for page in pages] == [
                newest_first[:3],
                newest_first[3:6],
                newest_first[6:],
            ]
            # What comes or goes in between moves nothing.
            await made.default.create_key(key(), event())
            await made.default.revoke_key(newest_first[3], event())
            rest = await made.default.keys(KeyFilter(), 3, pages[0].next_cursor)
            assert [item.id for item in rest.items] == newest_first[4:]
            counted = await made.default.keys(KeyFilter(), 2, offset=1)
            assert [item.id for item in counted.items] == newest_first[:2]
            for wrong in ("x", "é", cursor("x")[:-2]):
                with pytest.raises(CursorError):
                    await made.default.keys(KeyFilter(), 3, wrong)

    asyncio.run(run())


def test_a_tenant_is_renamed_and_disabled(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            changed = await made.other.update_tenant(TenantChange(name="New", disabled=True), event())
            assert (changed.id, changed.name, changed.disabled) == (OTHER, "New", True)
            with pytest.raises(Taken):
                await made.other.update_tenant(TenantChange(name="DEFAULT"), event())
            assert await made.other.tenant() == changed

    asyncio.run(run())


def test_a_tenant_has_one_webhook(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            for missing in (made.default.delete_webhook(event()), made.default.put_posted("evt_x")):
                with pytest.raises(NotThere):
                    await missing
            assert await made.default.webhook() is None
            for url in ("https://one", "https://two"):
                shown = await made.default.put_webhook(NewWebhook(url, b"sealed"), event())
                assert shown == await made.default.webhook()
                assert [(hook.tenant, hook.url, hook.posted) for hook in await made.operator.webhooks()] == [
                    (ids.DEFAULT, url, None)
                ]
                await made.default.put_posted("evt_x")
                assert [hook.posted for hook in await made.operator.webhooks()] == ["evt_x"]
            assert await made.other.webhook() is None
            await made.default.delete_webhook(event())
            assert await made.default.webhook() is None

    asyncio.run(run())


def test_a_value_no_database_takes_is_an_error_of_the_row(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            with pytest.raises(engine.StoreRowError):
                await made.default.create_key(key(expires_at=2**70), event())
            with pytest.raises(engine.StoreRowError):
                await made.default.create_project(project(name="\ud800"), event())

    asyncio.run(run())


def test_the_revision_counts_what_workers_are_told_of(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            operator = OperatorStore(made.reading)
            first = await operator.revision()
            await made.default.create_key(key(), event())
            await made.other.create_key(key(project=made.project), event())
            assert await operator.revision() == first + 2
            await made.default.record(event("auth.login"))
            assert await operator.revision() == first + 2

    asyncio.run(run())
