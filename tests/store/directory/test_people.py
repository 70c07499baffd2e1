"""Users: unique by e-mail and by link, never without an owner, erased for good."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewToken, SessionFilter, UserChange, UserFilter
from gatehouse.store.directory.errors import InUse, NotThere, Taken
from tests.store.directory.samples import NOW, SECOND, event, key, limit, opened, session, user


def test_an_e_mail_address_names_one_user_of_a_tenant(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = await made.default.create_user(user(), event())
            assert (ada.email, ada.has_password, ada.disabled, ada.erased_at) == ("Ada@Example.com", True, False, None)
            with pytest.raises(Taken, match="ada@EXAMPLE.com already"):
                await made.default.create_user(user(email="ada@EXAMPLE.com"), event())
            # The same person in another tenant is another user.
            other = await made.other.create_user(user(), event())
            [found] = (await made.default.users(UserFilter(email="ADA@example.com"), 10)).items
            assert found == ada == await made.default.user(ada.id)
            with pytest.raises(NotThere):
                await made.default.user(other.id)
            eve = await made.default.create_user(user(email="eve@example.com"), event())
            with pytest.raises(Taken):
                await made.default.update_user(eve.id, UserChange(email="ada@example.com"), event())
            same = await made.default.update_user(ada.id, UserChange(email="ada@example.com"), event())
            assert same.email == "ada@example.com"
            assert (await made.default.users(UserFilter(role="owner"), 10)).items == []

    asyncio.run(run())


def test_a_link_to_a_sign_on_provider_is_one_users(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = await made.default.create_user(user(issuer="https://idp", subject="1"), event())
            eve = await made.default.create_user(user(email="e@x.de", password_hash=None), event())
            assert not eve.has_password
            assert await made.default.password_hash(eve.id) is None
            assert await made.default.password_hash(ada.id) == "$argon2id$…"
            link = UserChange(issuer="https://idp", subject="1")
            with pytest.raises(Taken, match="subject 1 of https://idp"):
                await made.default.update_user(eve.id, link, event())
            assert await made.default.user_linked("https://idp", "1") == ada
            assert await made.other.user_linked("https://idp", "1") is None
            await made.other.create_user(user(issuer="https://idp", subject="1"), event())

    asyncio.run(run())


@pytest.mark.parametrize("change", [UserChange(role="admin"), UserChange(disabled=True), None])
def test_the_only_owner_stays(place: Path, change: UserChange | None) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = await made.default.create_user(user(role="owner"), event())
            away = await made.default.create_user(user(email="away@x.de", role="owner"), event())
            await made.default.update_user(away.id, UserChange(disabled=True), event())

            async def go() -> None:
                if change is None:
                    await made.default.erase_user(ada.id, event())
                else:
                    await made.default.update_user(ada.id, change, event())

            with pytest.raises(InUse, match="is the only owner"):
                await go()
            await made.default.update_user(ada.id, UserChange(name="Ada L."), event())
            await made.default.update_user(away.id, UserChange(disabled=False), event())
            await go()

    asyncio.run(run())


@pytest.mark.parametrize("change", [UserChange(password_hash="$new"), UserChange(disabled=True)])
def test_another_password_or_being_disabled_ends_sessions(place: Path, change: UserChange) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = await made.default.create_user(user(), event())
            await made.default.create_session(session(ada.id), event())
            await made.default.update_user(ada.id, UserChange(role="admin"), event())
            assert len((await made.default.sessions(SessionFilter(user=ada.id), 10)).items) == 1
            await made.default.update_user(ada.id, change, event())
            assert (await made.default.sessions(SessionFilter(user=ada.id), 10)).items == []

    asyncio.run(run())


def test_nothing_is_left_of_who_an_erased_user_was(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            secrets = {"name": "Zelda", "email": "zelda@x.de", "issuer": "https://idp", "subject": "zelda-7"}
            zelda = await made.default.create_user(user(password_hash="zelda-hash", **secrets), event())
            await made.default.create_key(key(user=zelda.id, owner="Zelda's laptop", name="zelda"), event())
            await made.default.create_session(session(zelda.id), event())
            token = NewToken(ids.new("token"), zelda.id, ("keys:manage",), NOW + SECOND)
            await made.default.create_token(token, event())
            on_her = await made.default.create_limit(limit(scope="user", scope_id=zelda.id), event())
            await made.default.erase_user(zelda.id, event())

            assert "zelda" not in repr(await made.rows()).lower()
            found = await made.default.user(zelda.id)
            assert (found.email, found.name, found.disabled, found.has_password) == (None, None, True, False)
            assert found.erased_at is not None
            assert (await made.default.sessions(SessionFilter(), 10)).items == []
            assert (await made.default.token(token.id)).revoked_at is not None
            with pytest.raises(NotThere):
                await made.default.limit(on_her.id)
            for again in (
                made.default.erase_user(zelda.id, event()),
                made.default.update_user(zelda.id, UserChange(disabled=False), event()),
                made.default.create_key(key(user=zelda.id), event()),
            ):
                with pytest.raises(NotThere, match="was erased"):
                    await again
            # The address is free again.
            await made.default.create_user(user(**secrets), event())

    asyncio.run(run())


def test_what_was_erased_is_not_left_in_the_file(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as made:
            for number in range(20):
                await made.default.create_user(user(email=f"n{number}@x.de"), event())
            zelda = await made.default.create_user(user(email="zelda@x.de", name="Zelda"), event())
            await made.default.erase_user(zelda.id, event())

    asyncio.run(run())
    # The last connection to be closed has written the log into the file.
    [held] = [path.read_bytes().lower() for path in tmp_path.iterdir()]
    assert b"n19@x.de" in held
    assert b"zelda" not in held


def test_no_repr_shows_a_hash() -> None:
    assert "argon2" not in repr(user())
    assert "argon2" not in repr(UserChange(password_hash="$argon2id$…"))
