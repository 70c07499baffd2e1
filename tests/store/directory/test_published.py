"""What workers are told: the directory's rows as entries of the snapshot."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from gatehouse.model.access import Binding, CredentialEntry, IssuerEntry, KeyEntry, ProjectEntry, TenantEntry
from gatehouse.model.limits import LimitEntry
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import (
    CredentialChange,
    IssuerChange,
    KeyChange,
    NewBinding,
    NewIssuer,
    ProjectChange,
    Successor,
    TenantChange,
    UserChange,
)
from gatehouse.store.directory.operator import OperatorStore
from tests.store.directory.samples import (
    NOW,
    OTHER,
    SECOND,
    credential,
    digest,
    event,
    key,
    limit,
    opened,
    project,
    user,
)


def test_every_entry_is_there_with_all_its_fields(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            card = credential(test=True, exclusive=ids.DEFAULT)
            await made.default.create_credential(card, event())
            await made.default.bind(ids.DEFAULT, NewBinding("openai", card.id), event())
            await made.default.update_project(ids.DEFAULT, ProjectChange(own_keys=True), event())
            ada = (await made.default.create_user(user(), event())).id
            new = key(
                environment="test",
                user=ada,
                models=("gpt-4o*",),
                providers=("openai",),
                addresses=("10.0.0.0/8",),
                expires_at=NOW + 1,
                role="member",
            )
            await made.default.create_key(new, event())
            cap = limit(scope="key", scope_id=new.id, measure="spend", window="month", cap=7, at_cap="clamp", assumed=3)
            await made.default.create_limit(cap, event())
            issuer = NewIssuer(
                ids.new("issuer"), "https://idp", "gh", ("RS256",), project=ids.DEFAULT, scopes=("chat",)
            )
            await made.default.create_issuer(issuer, event())
            await made.default.put_jwks(issuer.id, b"{}")

            found = await OperatorStore(made.reading).sections()
            uuids = {name: each.uuid for name, each in found.projects.items()}
            assert found.revision == await made.operator.revision()
            assert found.tenants == {ids.DEFAULT: TenantEntry(ids.DEFAULT), OTHER: TenantEntry(OTHER)}
            bound = (Binding("openai", card.id, 3),)
            assert found.projects == {
                ids.DEFAULT: ProjectEntry(ids.DEFAULT, ids.DEFAULT, uuids[ids.DEFAULT], "prod", "core", True, bound),
                made.project: ProjectEntry(made.project, OTHER, uuids[made.project], "prod", "core"),
            }
            assert found.keys == {
                new.id: KeyEntry(
                    id=new.id,
                    tenant=ids.DEFAULT,
                    project=ids.DEFAULT,
                    digest=new.digest,
                    environment="test",
                    user=ada,
                    scopes=("chat", "models"),
                    models=("gpt-4o*",),
                    providers=("openai",),
                    addresses=("10.0.0.0/8",),
                    expires=NOW // SECOND,
                    role="member",
                )
            }
            assert found.credentials == {
                card.id: CredentialEntry(
                    id=card.id,
                    tenant=ids.DEFAULT,
                    provider="openai",
                    origin="https://api.openai.com",
                    kind="api_key",
                    sealed=b"sealed-secret",
                    test=True,
                    exclusive=ids.DEFAULT,
                )
            }
            assert found.limits == {
                cap.id: LimitEntry(cap.id, ids.DEFAULT, "key", new.id, "spend", "month", 7, at_cap="clamp", assumed=3)
            }
            own = IssuerEntry(issuer.id, ids.DEFAULT, "https://idp", "gh", ("RS256",), b"{}", project=ids.DEFAULT)
            assert found.issuers == {issuer.id: msgspec.structs.replace(own, scopes=("chat",))}

    asyncio.run(run())


def test_a_key_whose_role_makes_no_calls_opens_nothing_on_the_data_plane(place: Path) -> None:
    """O8: `proxy:write`."""

    async def run() -> None:
        async with opened(place) as made:
            for role, scopes in ((None, ("chat",)), ("developer", ("chat",)), ("viewer", ()), ("auditor", ())):
                new = key(role=role, scopes=("chat",))
                await made.default.create_key(new, event())
                assert (await OperatorStore(made.reading).sections()).keys[new.id].scopes == scopes

    asyncio.run(run())


def test_what_is_revoked_deleted_or_disabled(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            shop = (await made.default.create_project(project(name="Shop"), event())).id
            ada = (await made.default.create_user(user(), event())).id
            revoked, disabled, hers, unbound = key(), key(), key(user=ada), key()
            for new in (revoked, disabled, hers, unbound):
                await made.default.create_key(new, event())
            await made.default.revoke_key(revoked.id, event())
            await made.default.update_key(disabled.id, KeyChange(disabled=True), event())
            await made.default.update_user(ada, UserChange(disabled=True), event())
            off, retiring, waiting = credential(), credential(name="retiring"), credential(name="w", kind="aws_role")
            for card in (off, retiring, waiting):
                await made.default.create_credential(card, event())
            await made.default.bind(ids.DEFAULT, NewBinding("openai", off.id), event())
            await made.default.update_credential(off.id, CredentialChange(disabled=True), event())
            await made.default.update_credential(retiring.id, CredentialChange(retiring=True), event())
            cap = limit()
            await made.default.create_limit(cap, event())
            await made.default.delete_limit(cap.id, event())
            issuer = NewIssuer(ids.new("issuer"), "https://idp", "gh", ("RS256",))
            await made.default.create_issuer(issuer, event())
            await made.default.update_issuer(issuer.id, IssuerChange(disabled=True), event())
            await made.default.update_project(ids.DEFAULT, ProjectChange(disabled=True), event())
            await made.default.delete_project(shop, event())
            await made.other.update_tenant(TenantChange(disabled=True), event())

            found = await OperatorStore(made.reading).sections()
            assert {name: each.disabled for name, each in found.keys.items()} == {
                disabled.id: True,
                hers.id: True,
                unbound.id: False,
            }
            # Whoever was sent to a credential that is off is not sent elsewhere.
            assert found.projects[ids.DEFAULT].bindings == (Binding("openai", off.id, 3),)
            assert {name: each.disabled for name, each in found.projects.items()} == {
                ids.DEFAULT: True,
                made.project: False,
            }
            assert {name: each.retiring for name, each in found.credentials.items()} == {retiring.id: True}
            assert (found.limits, found.issuers) == ({}, {})
            assert {name: each.disabled for name, each in found.tenants.items()} == {ids.DEFAULT: False, OTHER: True}
            # With a token it serves, and the secret the token was made from stays here.
            await made.default.put_token(waiting.id, b"sealed-token", NOW)
            assert (await made.operator.sections()).credentials[waiting.id].sealed == b"sealed-token"

    asyncio.run(run())


def test_a_key_is_worth_what_those_behind_it_may_now(place: Path) -> None:
    """A key may never exceed its creator, also later: not who was demoted, nor through a key that is nobody's."""

    async def run() -> None:
        async with opened(place) as made:
            await made.default.create_user(user(role="owner"), event())
            boss = (await made.default.create_user(user(email="boss@example.com", role="owner"), event())).id
            wide = ("chat", "provider:any")
            hers = key(user=boss, created_by=boss, scopes=wide)
            nobodys = key(created_by=boss, scopes=wide)
            operators = key(scopes=wide)
            for new in (hers, nobodys, operators):
                await made.default.create_key(new, event())

            async def found() -> list[tuple[tuple[str, ...], bool]]:
                entries = (await OperatorStore(made.reading).sections()).keys
                return [(entries[each.id].scopes, entries[each.id].disabled) for each in (hers, nobodys, operators)]

            assert await found() == [(wide, False), (wide, False), (wide, False)]
            for change, off in (
                (UserChange(role="admin"), False),
                (UserChange(role="viewer"), True),
                (UserChange(role="owner", disabled=True), True),
            ):
                await made.default.update_user(boss, change, event())
                # Nobody's keys make calls on; what only an owner may is over.
                assert await found() == [(("chat",), off), (("chat",), False), (wide, False)]

    asyncio.run(run())


def test_a_rotated_key_ends_when_it_retires(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            old = key(expires_at=NOW + 90 * SECOND)
            await made.default.create_key(old, event())
            new = Successor(ids.new("key"), digest("new"), "2222")
            await made.default.rotate_key(old.id, new, NOW + 60 * SECOND, event())
            found = (await made.operator.sections()).keys
            assert (found[old.id].expires, found[new.id].expires) == (NOW // SECOND + 60, NOW // SECOND + 90)
            assert (found[old.id].counts_as, found[new.id].counts_as) == (None, old.id)

    asyncio.run(run())
