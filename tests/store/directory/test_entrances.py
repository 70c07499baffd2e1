"""Sessions and platform tokens: who stands behind one, as long as that holds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gatehouse.auth.sessions import ABSOLUTE, new_token, rotated
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewToken, SessionFilter, UserChange
from gatehouse.store.directory.errors import NotThere
from tests.store.directory.samples import NOW, SECOND, Opened, digest, event, opened, session, user

_DAY = 86_400 * SECOND


async def _ada(made: Opened) -> str:
    return (await made.default.create_user(user(), event())).id


def test_a_session_stands_as_it_was_put(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = await _ada(made)
            new = session(ada)
            shown = await made.default.create_session(new, event("auth.login"))
            assert (shown.user, shown.created_at, shown.seen_at) == (ada, times.rfc3339(NOW), times.rfc3339(NOW))
            found = await made.operator.session(digest("one"))
            assert found is not None
            assert found.standing == new.standing
            assert (found.holder.tenant, found.holder.id, found.holder.user) == (ids.DEFAULT, new.id, ada)
            assert found.holder.expires_at == times.rfc3339(NOW + ABSOLUTE * SECOND)
            later = NOW // SECOND + 60
            for at in (later, later - 30):
                await made.default.see_session(new.id, at)
            found = await made.operator.session(digest("one"))
            assert found is not None
            assert found.standing == replace(new.standing, seen=later)
            assert await made.operator.session(digest("nobody's")) is None

    asyncio.run(run())


def test_of_requests_that_rotate_a_session_at_once_one_does(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            new = session(await _ada(made))
            await made.default.create_session(new, event())
            at = new.standing.began + 900
            tokens = [new_token() for _ in range(3)]
            after = [rotated(new.standing, token, "developer", at) for token in tokens]
            done = await asyncio.gather(*[made.default.rotate_session(new.id, new.standing, each) for each in after])
            assert sorted(done) == [False, False, True]
            winner = after[done.index(True)]
            # By the token before as well: whether that still serves is said elsewhere.
            for known in (winner.digest, new.standing.digest):
                found = await made.operator.session(known)
                assert found is not None
                assert found.standing == winner
            assert not await made.other.rotate_session(new.id, winner, after[0])

    asyncio.run(run())


def test_sessions_end(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = await _ada(made)
            names = [(await made.default.create_session(session(ada, text), event())).id for text in "abc"]
            with pytest.raises(NotThere):
                await made.other.delete_session(names[0], event())
            await made.default.delete_session(names[0], event("auth.logout"))
            with pytest.raises(NotThere):
                await made.default.delete_session(names[0], event())
            left = await made.default.sessions(SessionFilter(user=ada), 10)
            assert {each.id for each in left.items} == set(names[1:])
            assert (await made.default.sessions(SessionFilter(user="usr_x"), 10)).items == []
            assert await made.default.end_sessions(ada, event()) == 2
            with pytest.raises(NotThere):
                await made.other.end_sessions(ada, event())

    asyncio.run(run())


def test_who_is_disabled_gets_neither(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = await _ada(made)
            await made.default.update_user(ada, UserChange(disabled=True), event())
            for refused in (
                made.default.create_session(session(ada), event()),
                made.default.create_token(NewToken(ids.new("token"), ada, (), NOW), event()),
                made.other.create_session(session(ada), event()),
            ):
                with pytest.raises(NotThere):
                    await refused

    asyncio.run(run())


def test_a_platform_token_is_revoked_by_its_jti(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            new = NewToken(ids.new("token"), await _ada(made), ("keys:manage",), NOW + _DAY)
            token = await made.default.create_token(new, event())
            assert (await made.default.tokens(10)).items == [token]
            found = await made.operator.platform_token(new.id, NOW)
            assert found is not None
            assert (found.tenant, found.scopes, found.user_role) == (ids.DEFAULT, ("keys:manage",), "developer")
            await made.default.revoke_token(new.id, event())
            assert await made.operator.platform_token(new.id, NOW) is None
            assert (await made.default.token(new.id)).revoked_at is not None
            with pytest.raises(NotThere, match="was revoked"):
                await made.default.revoke_token(new.id, event())

    asyncio.run(run())
