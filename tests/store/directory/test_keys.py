"""Gateway keys: digests only, revoked for good, rotated with overlap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import KeyChange, KeyFilter, LimitFilter, Successor
from gatehouse.store.directory.errors import NotThere, Taken
from tests.store.directory.samples import NOW, SECOND, digest, event, key, limit, opened, user


def test_a_key_is_made_found_and_changed(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = (await made.default.create_user(user(), event())).id
            new = key(user=ada, models=("gpt-4o*",), addresses=("10.0.0.0/8",), expires_at=NOW, created_by=ada)
            found = await made.default.create_key(new, event())
            assert (found.scopes, found.models, found.addresses) == (["chat", "models"], ["gpt-4o*"], ["10.0.0.0/8"])
            assert (found.expires_at, found.counts_as, found.user) == (times.rfc3339(NOW), new.id, ada)
            assert "digest" not in found.__struct_fields__
            assert repr(new.digest) not in repr(new)
            for wanted in (KeyFilter(user=ada), KeyFilter(project=ids.DEFAULT), KeyFilter(last4="wxyz")):
                assert (await made.default.keys(wanted, 10)).items == [found]
                assert (await made.other.keys(wanted, 10)).items == []
            off = await made.default.update_key(new.id, KeyChange(disabled=True, scopes=(), expires_at=None), event())
            assert (off.disabled_at, off.scopes, off.expires_at) == (times.rfc3339(NOW), [], None)
            again = await made.default.update_key(new.id, KeyChange(disabled=True), event(at=NOW + SECOND))
            assert again.disabled_at == off.disabled_at
            assert (await made.default.update_key(new.id, KeyChange(disabled=False), event())).disabled_at is None

    asyncio.run(run())


def test_a_key_belongs_to_what_is_there(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            theirs = (await made.other.create_user(user(), event())).id
            for wrong in (key(project=made.project), key(user=theirs), key(user="usr_x")):
                with pytest.raises(NotThere):
                    await made.default.create_key(wrong, event())
            mine = await made.default.create_key(key(), event())
            with pytest.raises(NotThere):
                await made.default.update_key(mine.id, KeyChange(user=theirs), event())
            for stranger in (made.other.key(mine.id), made.other.revoke_key(mine.id, event())):
                with pytest.raises(NotThere):
                    await stranger

    asyncio.run(run())


def test_a_revoked_key_stays_revoked(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            name = (await made.default.create_key(key(), event())).id
            on_it = await made.default.create_limit(limit(scope="key", scope_id=name), event())
            await made.default.revoke_key(name, event())
            assert (await made.default.key(name)).revoked_at == times.rfc3339(NOW)
            for again in (
                made.default.revoke_key(name, event()),
                made.default.update_key(name, KeyChange(disabled=False), event()),
                made.default.rotate_key(name, Successor(ids.new("key"), digest("n"), "4321"), NOW, event()),
            ):
                with pytest.raises(NotThere, match="was revoked"):
                    await again
            assert [
                [item.id for item in (await made.default.keys(KeyFilter(revoked=wanted), 10)).items]
                for wanted in (False, True, None)
            ] == [[], [name], [name]]
            with pytest.raises(NotThere):
                await made.default.limit(on_it.id)

    asyncio.run(run())


def test_a_rotated_key_counts_on_and_is_taken_for_a_while(place: Path) -> None:
    """Rotation keeps the counters."""

    async def run() -> None:
        async with opened(place) as made:
            first = await made.default.create_key(key(role="viewer"), event())
            on_it = await made.default.create_limit(limit(scope="key", scope_id=first.id), event())
            new = Successor(ids.new("key"), digest("second"), "2222", created_by="usr_x")
            second = await made.default.rotate_key(first.id, new, NOW + SECOND, event())
            assert (second.id, second.last4, second.created_by) == (new.id, "2222", "usr_x")
            assert (second.owner, second.scopes, second.role) == (first.owner, first.scopes, "viewer")
            assert (second.counts_as, second.succeeded_by, second.retires_at) == (first.id, None, None)
            old = await made.default.key(first.id)
            assert (old.succeeded_by, old.retires_at) == (second.id, times.rfc3339(NOW + SECOND))
            with pytest.raises(Taken, match=f"rotated to {second.id} already"):
                await made.default.rotate_key(first.id, Successor(ids.new("key"), digest("x"), "3"), NOW, event())

            third = Successor(ids.new("key"), digest("third"), "3333")
            assert (await made.default.rotate_key(second.id, third, NOW, event())).counts_as == first.id
            # A limit on any of them is a limit on all.
            later = await made.default.create_limit(limit(scope="key", scope_id=third.id, window="hour"), event())
            assert later.scope_id == first.id
            found = await made.default.limits(LimitFilter(scope="key", scope_id=second.id), 10)
            assert {item.id for item in found.items} == {on_it.id, later.id}
            # They go with the last one.
            for name in (first.id, third.id):
                await made.default.revoke_key(name, event())
                assert (await made.default.limit(on_it.id)).cap == 60
            await made.default.revoke_key(second.id, event())
            assert (await made.default.limits(LimitFilter(), 10)).items == []

    asyncio.run(run())
