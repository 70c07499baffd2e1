"""Sessions that are over leave the directory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from gatehouse.auth import sessions
from gatehouse.control.forgetting import forget_regularly
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import SessionFilter
from tests.control.doors import Browser, house


def test_sessions_that_are_over_are_forgotten(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            directory = made.accounts.administration.tenant(ids.DEFAULT)
            for over in (True, False):
                browser = Browser(made)
                await browser.log_in()
                [cookie] = browser.cookies.values()
                found = await made.accounts.administration.operator.session(sessions.digest_of(cookie) or b"")
                assert found is not None
                if over:
                    after = replace(found.standing, seen=found.standing.seen - sessions.IDLE)
                    await directory.rotate_session(found.holder.id, found.standing, after)
            forgetting = asyncio.create_task(forget_regularly(made.accounts.administration, 0.01))
            left = (await directory.sessions(SessionFilter(), 10)).items
            async with asyncio.timeout(10):
                while len(left) > 1:
                    left = (await directory.sessions(SessionFilter(), 10)).items
            forgetting.cancel()
            assert found is not None and [each.id for each in left] == [found.holder.id]

    asyncio.run(run())
