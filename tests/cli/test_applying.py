"""Steps are done some at a time; what was made is told, whatever happens to the others."""

from __future__ import annotations

import asyncio
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
        self.under_way = asyncio.Event()

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        self.asked.append((method, path, body))
        self.under_way.set()
        if "wrong" in path:
            raise click.ClickException("it is wrong")
        await self.go.wait()
        return {"id": f"id{len(self.asked)}"}


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
        steps = [step(0, "key"), step(1, "later")]
        given: dict[Ref, Any] = {}
        task = asyncio.ensure_future(
            applying.apply(cast(Api, sibling), steps, NOTHING, given, lambda each, _: told.append(each.says))
        )
        await sibling.under_way.wait()
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        sibling.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return told

    assert asyncio.run(run()) == ["key"]


def test_secrets_are_read_before_anything_is_done() -> None:
    ref = Ref("credential", "main")
    steps = [step(0, "x", makes=ref, secret=From(env="MAIN"))]
    assert applying.secrets(steps, {"MAIN": " sk-planted "}) == {ref: "sk-planted"}
    with pytest.raises(ConfigError, match="credential main: the variable MAIN"):
        applying.secrets(steps, {"MAIN": " "})
