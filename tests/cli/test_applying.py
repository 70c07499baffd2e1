"""Steps are done some at a time; what was made is told, whatever happens to the others."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, cast

import click
import pytest

from gatehouse.cli import applying
from gatehouse.cli.client import Api
from gatehouse.cli.declared import From
from gatehouse.cli.steps import Ref, State, Step
from gatehouse.errors import ConfigError

NOTHING = State([], [], [], [], {})


class Sibling:
    """An API that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.go = asyncio.Event()
        self.slow = asyncio.Event()
        self.slow.set()
        """All but the first answer wait for this as well."""
        self.under_way = asyncio.Event()

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        self.asked.append((method, path, body))
        number = len(self.asked)
        self.under_way.set()
        if "wrong" in path:
            raise click.ClickException("it is wrong")
        await self.go.wait()
        if number > 1:
            await self.slow.wait()
        return {"id": f"id{number}"}


def step(phase: int, name: str, path: tuple[str | Ref, ...] = ("/x",), **fields: Any) -> Step:
    return Step(phase, name, "POST", path, **fields)


def test_later_steps_know_the_ids_of_what_was_made() -> None:
    project = Ref("project", "web")
    steps = [
        step(0, "first", makes=project, body={"name": "web"}),
        step(1, "second", ("/x/", project, "/y"), body={"of": project, "n": 1}),
    ]

    async def run() -> list[tuple[str, str, Any]]:
        sibling, told = Sibling(), []
        sibling.go.set()
        await applying.apply(cast(Api, sibling), steps, NOTHING, {}, lambda each, _: told.append(each.says))
        assert told == ["first", "second"]
        return sibling.asked

    assert asyncio.run(run()) == [("POST", "/x", {"name": "web"}), ("POST", "/x/id1/y", {"of": "id1", "n": 1})]


def test_a_failure_lets_end_what_is_under_way_and_begins_nothing_more() -> None:
    steps = [step(0, "slow"), step(0, "bad", ("/wrong",)), *(step(0, f"n{n}") for n in range(50)), step(1, "later")]

    async def run() -> tuple[list[str], int]:
        sibling, told = Sibling(), []
        asyncio.get_running_loop().call_later(0.05, sibling.go.set)
        with pytest.raises(click.ClickException, match="bad: it is wrong"):
            await applying.apply(cast(Api, sibling), steps, NOTHING, {}, lambda each, _: told.append(each.says))
        return told, len(sibling.asked)

    told, asked = asyncio.run(run())
    assert told[0] == "slow" and "later" not in told
    assert len(told) == asked - 1 <= applying.AT_A_TIME


def test_ctrl_c_waits_for_what_may_be_made_already() -> None:
    async def run() -> list[str]:
        sibling, told = Sibling(), []
        steps = [*(step(0, f"key {n}") for n in range(applying.AT_A_TIME + 1)), step(1, "later")]
        given: dict[Ref, Any] = {}
        task = asyncio.ensure_future(
            applying.apply(cast(Api, sibling), steps, NOTHING, given, lambda each, _: told.append(each.says))
        )
        await sibling.under_way.wait()
        task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        # One answer comes before the others.
        sibling.go.set()
        sibling.slow.clear()
        asyncio.get_running_loop().call_later(0.05, sibling.slow.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(sibling.asked) == len(told)
        return told

    assert sorted(asyncio.run(run())) == [f"key {n}" for n in range(applying.AT_A_TIME)]


def test_what_could_not_be_written_down_is_said() -> None:
    """A full disk under `--keys-out`, or a reader of stdout that left: keys nobody has the text of."""

    def tell(_each: Step, _answer: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def run() -> None:
        sibling = Sibling()
        sibling.go.set()
        await applying.apply(cast(Api, sibling), [step(0, f"key {n}") for n in range(50)], NOTHING, {}, tell)

    with pytest.raises(click.ClickException) as caught:
        asyncio.run(run())
    lines = caught.value.message.splitlines()
    assert lines[0].startswith("key 0: done, but") and lines[0].endswith("device; revoke or rotate it")
    assert len(lines) <= applying.AT_A_TIME


def test_secrets_are_read_before_anything_is_done() -> None:
    ref = Ref("credential", "main")
    steps = [step(0, "x", makes=ref, secret=From(env="MAIN"))]
    assert applying.secrets(steps, {"MAIN": " sk-planted "}) == {ref: "sk-planted"}
    with pytest.raises(ConfigError, match="credential main: the variable MAIN"):
        applying.secrets(steps, {"MAIN": " "})
