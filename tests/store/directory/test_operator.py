"""The only queries over all tenants: for the control plane itself."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest

from gatehouse.auth.sessions import IDLE
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import (
    CredentialChange,
    Event,
    KeyChange,
    NewTenant,
    NewToken,
    NewWebhook,
    ProjectFilter,
    Successor,
    TenantChange,
    UserChange,
    UserFilter,
)
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.errors import NotThere, Taken
from gatehouse.store.directory.operator import OperatorStore
from gatehouse.store.directory.views import Holder
from tests.store.directory.samples import (
    NOW,
    OTHER,
    SECOND,
    Opened,
    bare,
    credential,
    digest,
    event,
    key,
    opened,
    project,
    session,
    user,
)

_LATER = NOW + 60 * SECOND


def _events() -> list[Event]:
    return [event(action, actor_kind="operator") for action in ("tenant.create", "project.create", "user.create")]


def test_set_up_makes_all_or_nothing_and_once(place: Path) -> None:
    async def run() -> None:
        async with bare(place) as (writing, _):
            operator = OperatorStore(writing)
            tenant, first = NewTenant(ids.DEFAULT, "default"), project(id=ids.DEFAULT)
            assert not await operator.has_owner()
            with pytest.raises(ValueError, match="no id of a user"):
                await operator.set_up(tenant, first, user(id="x", role="owner"), _events())
            with pytest.raises(NotThere):
                await operator.tenant(ids.DEFAULT)

            racing = [
                operator.set_up(tenant, first, user(email=f"{number}@x.de", role="owner"), _events())
                for number in range(2)
            ]
            found = await asyncio.gather(*racing, return_exceptions=True)
            assert [type(each) for each in found if each is not None] == [Taken]
            assert await operator.has_owner()
            assert sorted(each.event.action for each in await operator.outbox()) == sorted(
                ["tenant.create", "project.create", "user.create"]
            )
            assert len((await Directory(writing, ids.DEFAULT).projects(ProjectFilter(), 10)).items) == 1

    asyncio.run(run())


def test_what_is_there_already_is_left_as_it_is(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            before = await made.default.project(ids.DEFAULT)
            owner = user(role="owner")
            await made.operator.set_up(
                NewTenant(ids.DEFAULT, "another name"), project(id=ids.DEFAULT, name="x"), owner, _events()
            )
            assert await made.default.project(ids.DEFAULT) == before
            assert (await made.operator.tenant(ids.DEFAULT)).name == "default"
            assert (await made.default.user(owner.id)).role == "owner"

    asyncio.run(run())


def test_tenants_are_listed_and_named_once(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            third = await made.operator.create_tenant(NewTenant(ids.new("tenant"), "Third"), event())
            page = await made.operator.tenants(2)
            rest = await made.operator.tenants(2, page.next_cursor)
            assert [each.id for each in page.items + rest.items] == [third.id, OTHER, ids.DEFAULT]
            assert rest.next_cursor is None
            for wrong in (NewTenant(ids.new("tenant"), "THIRD"), NewTenant(OTHER, "Fourth")):
                with pytest.raises(Taken):
                    await made.operator.create_tenant(wrong, event())

    asyncio.run(run())


def test_who_logs_in_is_found_in_every_tenant(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            one = await made.default.create_user(user(), event())
            two = await made.other.create_user(user(role="admin", password_hash=None), event())
            found = await made.operator.who_logs_in("ADA@example.com")
            assert [(each.tenant, each.user, each.role, each.password_hash) for each in found] == [
                (ids.DEFAULT, one.id, "developer", "$argon2id$…"),
                (OTHER, two.id, "admin", None),
            ]
            assert "argon2" not in repr(found)
            await made.default.update_user(one.id, UserChange(disabled=True), event())
            await made.other.update_tenant(TenantChange(disabled=True), event())
            assert await made.operator.who_logs_in("ada@example.com") == []
            assert await made.operator.who_logs_in("nobody@example.com") == []

    asyncio.run(run())


def test_the_import_contract_names_everybody_else() -> None:
    """I6: a new package has to be put on one side or the other."""
    root = Path(__file__).parents[3]
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each.get("forbidden_modules") == ["gatehouse.store.directory.operator"]]
    there = {path.stem for path in (root / "src" / "gatehouse").iterdir() if path.suffix == ".py" or path.is_dir()}
    inside = there - {"cli", "control", "store", "__init__", "__main__", "__pycache__"}
    assert {f"gatehouse.{name}" for name in inside} <= {*contract["source_modules"]}


async def _holders(made: Opened, now: int = NOW) -> list[Holder | None]:
    ask = made.operator
    presented = await ask.session(digest("session"))
    return [
        None if presented is None else presented.holder,
        await ask.platform_token("tok_" + "0" * 26, now),
        await ask.gateway_key(digest("key"), now),
    ]


async def _entrances(made: Opened) -> str:
    """A session, a token and a key of one user."""
    ada = (await made.default.create_user(user(), event())).id
    await made.default.create_session(session(ada, "session"), event())
    await made.default.create_token(NewToken("tok_" + "0" * 26, ada, ("audit:read",), _LATER), event())
    new = key(digest=digest("key"), user=ada, role="viewer", expires_at=_LATER)
    await made.default.create_key(new, event())
    return ada


def test_who_stands_behind_a_credential_is_asked_anew_each_time(place: Path) -> None:
    """A token's rights follow its subject's present role."""

    async def run() -> None:
        async with opened(place) as made:
            ada = await _entrances(made)
            found = [each for each in await _holders(made) if each is not None]
            assert [(each.kind, each.tenant, each.user, each.user_role) for each in found] == [
                (kind, ids.DEFAULT, ada, "developer") for kind in ("session", "token", "key")
            ]
            assert [(each.role, each.scopes, each.project) for each in found] == [
                (None, (), None),
                (None, ("audit:read",), None),
                ("viewer", ("chat", "models"), ids.DEFAULT),
            ]
            assert (await _holders(made, _LATER))[1:] == [None, None]
            await made.default.update_user(ada, UserChange(role="auditor"), event())
            assert [each and each.user_role for each in await _holders(made)] == ["auditor"] * 3
            await made.default.update_tenant(TenantChange(disabled=True), event())
            assert await _holders(made) == [None, None, None]
            await made.default.update_tenant(TenantChange(disabled=False), event())
            await made.default.update_user(ada, UserChange(disabled=True), event())
            assert await _holders(made) == [None, None, None]

    asyncio.run(run())


@pytest.mark.parametrize("how", ["disabled", "revoked", "retired"])
def test_a_key_that_is_not_valid_stands_for_nobody(place: Path, how: str) -> None:
    async def run() -> None:
        async with opened(place) as made:
            new = key(digest=digest("key"), role="viewer")
            await made.default.create_key(new, event())
            found = await made.operator.gateway_key(new.digest, NOW)
            assert found is not None
            assert (found.user, found.user_role, found.role) == (None, None, "viewer")
            if how == "disabled":
                await made.default.update_key(new.id, KeyChange(disabled=True), event())
            elif how == "revoked":
                await made.default.revoke_key(new.id, event())
            else:
                await made.default.rotate_key(new.id, Successor(ids.new("key"), digest("n"), "1"), NOW, event())
            assert await made.operator.gateway_key(new.digest, NOW) is None

    asyncio.run(run())


def test_events_leave_the_outbox_when_they_are_journalled(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            await made.operator.journalled([each.event.id for each in await made.operator.outbox()])
            made_events = [event(), event(), event()]
            for number, each in enumerate(made_events):
                await (made.other if number == 1 else made.default).record(each)
            found = await made.operator.outbox(2)
            assert [(each.tenant, each.event) for each in found] == [
                (ids.DEFAULT, made_events[0]),
                (OTHER, made_events[1]),
            ]
            await made.operator.journalled([each.event.id for each in found])
            assert [each.event for each in await made.operator.outbox()] == made_events[2:]

    asyncio.run(run())


def test_secrets_are_sealed_anew_unless_they_changed_meanwhile(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            one = (await made.default.create_credential(credential(sealed=b"old"), event())).id
            two = (await made.other.create_credential(credential(sealed=b"old"), event())).id
            gone = (await made.other.create_credential(credential(name="gone"), event())).id
            await made.other.delete_credential(gone, event())
            await made.default.put_token(one, b"old-token", _LATER)
            await made.default.update_credential(one, CredentialChange(rotate_key=b"old-key"), event())
            await made.other.put_webhook(NewWebhook("https://hook", b"old-hook"), event())
            found = await made.operator.sealed()
            assert {(each.tenant, each.kind, each.id, each.sealed) for each in found} == {
                (ids.DEFAULT, "credential", one, b"old"),
                (ids.DEFAULT, "token", one, b"old-token"),
                (ids.DEFAULT, "hook", one, b"old-key"),
                (OTHER, "credential", two, b"old"),
                (OTHER, "webhook", OTHER, b"old-hook"),
            }
            assert "old" not in repr(found)
            await made.other.put_secret(two, b"replaced", "1234", event())
            done = {each.id + each.kind: await made.operator.resealed(each, b"new") for each in found}
            assert done.pop(two + "credential") is False
            assert set(done.values()) == {True}
            assert sorted(each.sealed for each in await made.operator.sealed()) == [*[b"new"] * 4, b"replaced"]
            assert [hook.sealed for hook in await made.operator.webhooks()] == [b"new"]

    asyncio.run(run())


def test_the_control_plane_gets_the_secrets_in_use(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            off = (await made.default.create_credential(credential(name="off"), event())).id
            await made.default.update_credential(off, CredentialChange(disabled=True), event())
            new = credential(kind="aws_role", rotate_every_days=30)
            await made.other.create_credential(new, event())
            [found] = await made.operator.stored_secrets()
            assert (found.tenant, found.id, found.sealed, found.settings) == (
                OTHER,
                new.id,
                new.sealed,
                {"region": "eu"},
            )
            assert (found.kind, found.rotate_every_days, found.token_expires_at) == ("aws_role", 30, None)
            assert "sealed-" not in repr(found)

    asyncio.run(run())


def test_what_has_ended_is_forgotten(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            await _entrances(made)
            ada = (await made.default.users(UserFilter(), 1)).items[0].id
            await made.default.create_session(session(ada, seen=_LATER // SECOND), event())
            assert await made.operator.forget_expired(NOW) == 0
            assert await made.operator.forget_expired(_LATER) == 1
            assert await made.operator.forget_expired(NOW + IDLE * SECOND) == 1
            assert await made.operator.forget_expired(_LATER + IDLE * SECOND) == 1
            held = await made.rows()
            assert held["dir_sessions"] == held["dir_tokens"] == []

    asyncio.run(run())
