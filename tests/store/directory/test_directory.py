"""What belongs to a tenant as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gatehouse.store.directory import ids
from tests.store.directory.samples import event, key, opened, user


def test_names_by_id_whatever_became_of_them_i6(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            ada = await made.default.create_user(user(), event())
            named = await made.default.create_key(key(name="ci"), event())
            nameless = await made.default.create_key(key(name=None), event())
            await made.default.revoke_key(named.id, event())
            wanted = {ada.id, named.id, nameless.id, ids.DEFAULT, made.project, "key_unknown"}
            assert await made.default.names(wanted) == {ada.id: ada.email, named.id: "ci", ids.DEFAULT: "Main"}
            assert set(await made.other.names(wanted)) == {made.project}
            assert await made.default.names(()) == {}

    asyncio.run(run())
