"""Providers' secrets: kept sealed, rotated, and gone when they are deleted (I3)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import CredentialChange, CredentialFilter, NewBinding
from gatehouse.store.directory.errors import InUse, NotThere, Taken
from tests.store.directory.samples import NOW, SECOND, credential, event, limit, opened, project


def test_a_credential_is_shown_without_its_secret(place: Path) -> None:
    """I3."""

    async def run() -> None:
        async with opened(place) as made:
            new = credential(rotate_every_days=30, rotate_hook="https://rotate.example")
            found = await made.default.create_credential(new, event())
            assert (found.last4, found.settings, found.health) == ("abcd", {"region": "eu"}, "unknown")
            assert found.created_at == found.rotated_at
            assert "sealed-secret" not in repr(found) + repr(new)
            assert not {"sealed", "token"} & set(found.__struct_fields__)
            assert await made.default.sealed(found.id) == b"sealed-secret"
            for hidden in (made.other.sealed(found.id), made.other.credential(found.id)):
                with pytest.raises(NotThere):
                    await hidden
            for wanted in (CredentialFilter(name="MAIN account"), CredentialFilter(provider="openai")):
                assert (await made.default.credentials(wanted, 10)).items == [found]
                assert (await made.other.credentials(wanted, 10)).items == []

    asyncio.run(run())


def test_names_are_taken_once(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            await made.default.create_credential(credential(), event())
            second = await made.default.create_credential(credential(name="Second"), event())
            with pytest.raises(Taken, match="called main ACCOUNT"):
                await made.default.create_credential(credential(name="main ACCOUNT"), event())
            with pytest.raises(Taken):
                await made.default.update_credential(second.id, CredentialChange(name="main account"), event())
            await made.other.create_credential(credential(), event())

    asyncio.run(run())


def test_a_credential_is_changed_and_retired(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            name = (await made.default.create_credential(credential(), event())).id
            other = (await made.other.create_project(project(name="Theirs"), event())).id
            with pytest.raises(NotThere):
                await made.default.update_credential(name, CredentialChange(exclusive=other), event())
            change = CredentialChange(settings={"region": "us"}, test=True, exclusive=ids.DEFAULT, retiring=True)
            changed = await made.default.update_credential(name, change, event(at=NOW))
            assert (changed.settings, changed.test, changed.exclusive) == ({"region": "us"}, True, ids.DEFAULT)
            later = await made.default.update_credential(name, CredentialChange(retiring=True), event(at=NOW + SECOND))
            assert later.retiring_at == changed.retiring_at is not None
            back = await made.default.update_credential(name, CredentialChange(retiring=False), event())
            assert back.retiring_at is None

    asyncio.run(run())


def test_a_new_secret_takes_over_and_its_token_is_due(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            name = (await made.default.create_credential(credential(kind="azure_entra"), event())).id
            await made.default.put_token(name, b"sealed-token", NOW + 3600 * SECOND)
            await made.default.put_health(name, False, "401 invalid_client")
            changed = await made.default.put_secret(name, b"sealed-new", "efgh", event(at=NOW + SECOND))
            assert (changed.last4, changed.health, changed.health_reason) == ("efgh", "unknown", None)
            assert changed.token_expires_at == changed.rotated_at > changed.created_at
            assert await made.default.sealed(name) == b"sealed-new"
            # What was fetched before serves until the next is there.
            assert (await made.operator.sections()).credentials[name].sealed == b"sealed-token"

    asyncio.run(run())


def test_health_is_told_when_it_changes(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            name = (await made.default.create_credential(credential(), event())).id
            revision = await made.operator.revision()
            told = [await made.default.put_health(name, well, None if well else "401") for well in (False, False, True)]
            assert told == [True, False, True]
            found = await made.default.credential(name)
            assert (found.health, found.health_reason) == ("healthy", None)
            assert await made.operator.revision() == revision

    asyncio.run(run())


def test_a_deleted_credential_keeps_its_id_alone(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            name = (await made.default.create_credential(credential(), event())).id
            await made.default.put_token(name, b"sealed-token", NOW)
            await made.default.bind(ids.DEFAULT, NewBinding("openai", name), event())
            with pytest.raises(InUse, match=r"a project is bound to it \(Main\); take it"):
                await made.default.delete_credential(name, event())
            await made.default.unbind(ids.DEFAULT, "openai", name, event())
            await made.default.create_limit(limit(scope="credential", scope_id=name), event())
            await made.default.delete_credential(name, event())
            held = await made.rows()
            assert "sealed-" not in repr(held["dir_credentials"])
            assert [row.id for row in held["dir_credentials"]] == [name]
            assert held["dir_limits"][0].deleted_at is not None
            with pytest.raises(NotThere):
                await made.default.credential(name)
            await made.default.create_credential(credential(), event())

    asyncio.run(run())
