"""limits/shared/background.py: which calls began responses in the background, for all machines that share a server."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gatehouse.limits.shared import background
from gatehouse.limits.shared.background import SharedBackground
from gatehouse.limits.shared.connection import Connection, server
from gatehouse.limits.shared.scripts import BACKGROUND
from gatehouse.model.background import MOST, Begun, Response
from gatehouse.model.limits import Settled
from tests.limits.shared.servers import Valkey, connection, valkey

ONE = Response("ten", "prj", "openai", "resp_1")
BEGUN = Begun("0192-call", 1_763_000_000.5, 7_000_000, "v1", True, (Settled("ten/key/k/spend/total", "", 9, 9),))


def test_what_is_kept_is_taken_once_on_whichever_machine(on: Valkey) -> None:
    async def run() -> None:
        here, there = SharedBackground(connection(on)), SharedBackground(connection(on))
        await here.keep(ONE, BEGUN)
        for field, value in ONE._asdict().items():
            assert await there.take(ONE._replace(**{field: value + "x"})) is None, field
        found = await asyncio.gather(*(each.take(ONE) for each in (here, there) * 8))
        [begun] = [each for each in found if each is not None]
        assert msgspec.structs.replace(begun, steady=BEGUN.steady) == BEGUN
        assert begun.steady != BEGUN.steady, "another machine's clock says nothing here"
        await here.close()
        await there.close()

    asyncio.run(run())


def test_of_a_project_only_so_many_are_kept_and_none_for_ever(on: Valkey) -> None:
    async def run() -> None:
        kept = SharedBackground(connection(on))
        for number in range(MOST):  # what is taken makes room
            await kept.keep(ONE._replace(id=f"gone_{number}"), BEGUN)
            assert await kept.take(ONE._replace(id=f"gone_{number}")) is not None
        for number in range(MOST + 2):
            await kept.keep(ONE._replace(id=f"resp_{number}"), BEGUN)
        await kept.keep(ONE._replace(project="other"), BEGUN)
        found = [await kept.take(ONE._replace(id=f"resp_{number}")) is None for number in (0, 1, 2, MOST + 1)]
        assert found == [True, True, False, False]
        assert await kept.take(ONE._replace(project="other")) is not None, "who has few loses none"
        names = on.client().keys("*")
        assert names and all(on.client().ttl(name) > 29 * 86_400 for name in names)
        await kept.close()

    asyncio.run(run())


def test_what_cannot_be_read_is_said(on: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        kept = SharedBackground(connection(on))
        await kept.keep(ONE, BEGUN)
        [name] = [name for name in map(str, on.client().keys("*")) if not name.endswith("order")]
        [field] = map(str, on.client().hkeys(name))
        on.client().hset(name, field, '{"call": 7}')
        assert await kept.take(ONE) is None
        await kept.close()

    asyncio.run(run())
    assert "cannot be read" in caplog.text


def test_a_server_that_forgot_its_scripts_is_told_again(on: Valkey) -> None:
    async def run() -> None:
        kept = SharedBackground(connection(on))
        await kept.keep(ONE, BEGUN)
        on.client().script_flush()
        assert await kept.take(ONE) is not None
        await kept.close()

    asyncio.run(run())
    assert BACKGROUND.digest


def test_a_server_that_is_away_is_said_once_and_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def run(url: str) -> None:
        kept = SharedBackground(Connection(server(url), timeout=0.2, connect_timeout=0.2))
        loop = asyncio.get_running_loop()
        began = loop.time()
        await kept.keep(ONE, BEGUN)
        assert await kept.take(ONE) is None
        assert loop.time() - began < background.CONNECT_SECONDS + 2
        await kept.close()

    with valkey() as server_:
        server_.stop()
        asyncio.run(run(server_.url))
    assert caplog.text.count("cannot be counted") == 1


def test_all_who_come_first_wait_for_the_connection(on: Valkey) -> None:
    async def run() -> None:
        kept = SharedBackground(connection(on))
        await asyncio.gather(*(kept.keep(ONE._replace(id=str(number)), BEGUN) for number in range(5)))
        assert None not in [await kept.take(ONE._replace(id=str(number))) for number in range(5)]
        await kept.close()

    asyncio.run(run())


def test_who_asked_for_nothing_has_no_connection(on: Valkey) -> None:
    async def run() -> None:
        before = len(on.client().client_list())
        kept = SharedBackground(connection(on))
        await asyncio.sleep(0.05)
        assert len(on.client().client_list()) <= before
        await kept.close()

    asyncio.run(run())
