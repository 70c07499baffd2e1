"""Projects and what is bound to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import (
    CredentialChange,
    IssuerChange,
    NewBinding,
    NewIssuer,
    ProjectChange,
    ProjectFilter,
)
from gatehouse.store.directory.errors import InUse, NotThere, Taken
from gatehouse.store.directory.views import Binding
from tests.store.directory.samples import credential, event, key, limit, opened, project


def test_a_project_is_made_changed_and_found(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            new = project(name="Shop", own_keys=False, type="web")
            shop = await made.default.create_project(new, event())
            assert (shop.uuid, shop.environment, shop.team, shop.own_keys) == (new.uuid, "prod", "core", False)
            changed = await made.default.update_project(shop.id, ProjectChange(name="SHOP", own_keys=None), event())
            assert (changed.name, changed.own_keys, changed.type) == ("SHOP", None, "web")
            for wanted in (ProjectFilter(name="shop"), ProjectFilter(uuid=new.uuid.upper())):
                assert (await made.default.projects(wanted, 10)).items == [changed]
                assert (await made.other.projects(wanted, 10)).items == []
            with pytest.raises(Taken):
                await made.default.update_project(shop.id, ProjectChange(name="main"), event())
            with pytest.raises(NotThere):
                await made.other.project(shop.id)

    asyncio.run(run())


def test_a_project_is_bound_to_credentials_of_its_tenant(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            mine = await made.default.create_credential(credential(), event())
            theirs = await made.other.create_credential(credential(), event())
            bound = await made.default.bind(ids.DEFAULT, NewBinding("openai", mine.id), event())
            assert bound.bindings == [Binding("openai", mine.id, 3)]
            await made.default.update_credential(mine.id, CredentialChange(weight=5), event())
            assert (await made.default.project(ids.DEFAULT)).bindings == [Binding("openai", mine.id, 5)]
            again = await made.default.bind(ids.DEFAULT, NewBinding("openai", mine.id, weight=1), event())
            assert again.bindings == [Binding("openai", mine.id, 1)]
            assert (await made.default.projects(ProjectFilter(), 10)).items == [again]
            for wrong in (NewBinding("openai", theirs.id), NewBinding("anthropic", mine.id)):
                with pytest.raises(NotThere):
                    await made.default.bind(ids.DEFAULT, wrong, event())
            assert (await made.default.unbind(ids.DEFAULT, "openai", mine.id, event())).bindings == []
            with pytest.raises(NotThere, match="is not bound to openai"):
                await made.default.unbind(ids.DEFAULT, "openai", mine.id, event())

    asyncio.run(run())


def test_a_project_goes_when_nothing_needs_it(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            shop = (await made.default.create_project(project(name="Shop"), event())).id
            used = await made.default.create_key(key(project=shop), event())
            with pytest.raises(InUse, match="it has keys"):
                await made.default.delete_project(shop, event())
            await made.default.revoke_key(used.id, event())
            exclusive = await made.default.create_credential(credential(exclusive=shop), event())
            with pytest.raises(InUse, match="exclusive"):
                await made.default.delete_project(shop, event())
            await made.default.update_credential(exclusive.id, CredentialChange(exclusive=None), event())
            issuer = NewIssuer(ids.new("issuer"), "https://idp", "gatehouse", ("RS256",), project=shop)
            await made.default.create_issuer(issuer, event())
            with pytest.raises(InUse, match="issuer"):
                await made.default.delete_project(shop, event())
            await made.default.update_issuer(issuer.id, IssuerChange(project=None), event())
            on_it = await made.default.create_limit(limit(scope="project", scope_id=shop), event())
            await made.default.bind(shop, NewBinding("openai", exclusive.id), event())

            await made.default.delete_project(shop, event())
            for gone in (made.default.project(shop), made.default.limit(on_it.id)):
                with pytest.raises(NotThere):
                    await gone
            with pytest.raises(NotThere):
                await made.default.create_key(key(project=shop), event())
            # The credential is free, and so is the name.
            await made.default.delete_credential(exclusive.id, event())
            await made.default.create_project(project(name="shop"), event())

    asyncio.run(run())
