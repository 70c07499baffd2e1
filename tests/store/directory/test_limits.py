"""Limits: on what is there, and marked when they are deleted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import LimitChange, LimitFilter
from gatehouse.store.directory.errors import NotThere
from tests.store.directory.samples import OTHER, credential, event, key, limit, opened, user


def test_a_limit_is_on_what_is_there(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            known = {
                "tenant": ids.DEFAULT,
                "project": ids.DEFAULT,
                "key": (await made.default.create_key(key(), event())).id,
                "user": (await made.default.create_user(user(), event())).id,
                "credential": (await made.default.create_credential(credential(), event())).id,
                "model": "openai:gpt-4o",
            }
            for scope, name in known.items():
                found = await made.default.create_limit(limit(scope=scope, scope_id=name), event())
                assert (await made.default.limits(LimitFilter(scope=scope, scope_id=name), 10)).items == [found]  # type: ignore[arg-type]
                if scope != "model":
                    with pytest.raises(NotThere, match=f"there is no {scope} {name}"):
                        await made.other.create_limit(limit(scope=scope, scope_id=name), event())
            with pytest.raises(NotThere):
                await made.default.create_limit(limit(scope_id=OTHER), event())
            several = LimitFilter(scope_ids=(known["key"], known["user"], "key_x"))
            found_scopes = [each.scope for each in (await made.default.limits(several, 10)).items]
            assert sorted(found_scopes) == ["key", "user"]
            assert (await made.default.limits(LimitFilter(scope_ids=()), 10)).items == []

    asyncio.run(run())


def test_a_limit_is_changed_and_deleted_and_its_id_never_comes_again(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            new = limit(measure="spend", window="month", cap=5_000_000_000, assumed=7)
            await made.default.create_limit(new, event())
            change = LimitChange(cap=6_000_000_000, at_cap="clamp", assumed=None, when_down="open", hard=False)
            changed = await made.default.update_limit(new.id, change, event())
            assert (changed.cap, changed.at_cap, changed.assumed) == (6_000_000_000, "clamp", None)
            assert (changed.when_down, changed.hard, changed.on_unknown) == ("open", False, "bound")
            assert await made.default.limit(new.id) == changed
            with pytest.raises(NotThere):
                await made.other.delete_limit(new.id, event())
            await made.default.delete_limit(new.id, event())
            for gone in (
                made.default.limit(new.id),
                made.default.delete_limit(new.id, event()),
                made.default.update_limit(new.id, change, event()),
            ):
                with pytest.raises(NotThere):
                    await gone
            assert [row.id for row in (await made.rows())["dir_limits"]] == [new.id]

    asyncio.run(run())
