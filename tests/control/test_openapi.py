"""schemathesis over the management API's own description: whatever is sent, the answer is one that it describes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.control.administered import Administered, administered
from tests.store.samples import opened

ROUTES = ("projects", "credentials", "keys", "gateway", "services", "limits", "issuers", "audit", "events", "secrets")
BEYOND = {("POST", "/api/v1/issuers/{id}/refresh"), ("POST", "/api/v1/credentials/{id}/rotate")}
"""They may answer 502: somebody else did not answer."""


class Running:
    """The API on a loop of its own, with something of everything in it."""

    def __init__(self, place: Path) -> None:
        self.runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.api: Administered = self.runner.run(self._start(place))
        self.document: dict[str, Any] = self.runner.run(self.api.ask("GET", "/openapi.json"))
        self.ids = self.runner.run(self._fill())

    async def _start(self, place: Path) -> Administered:
        await self._stack.enter_async_context(opened(place))
        return await self._stack.enter_async_context(administered(place))

    async def _fill(self) -> list[str]:
        made = [
            await self.api.ask("POST", "/projects", {"name": "p"}, 201),
            await self.api.credential(),
            await self.api.ask("POST", "/keys", {}, 201),
            await self.api.ask("POST", "/issuers", {"issuer": "https://sso.example", "audience": "a"}, 201),
        ]
        return [each["id"] for each in made] + [made[2]["limits"][0]["id"]]

    def close(self) -> None:
        self.runner.run(self._stack.aclose())
        self.runner.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("openapi"))
    try:
        yield made
    finally:
        made.close()


def _operations(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    schema = schemathesis.openapi.from_dict(document)
    found: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    return {
        (operation.method.upper(), operation.path): operation
        for operation in found
        if operation.path.removeprefix("/api/v1/").partition("/")[0] in ROUTES
    }


def _known(case: Any, name: str) -> str:
    path: str = case.formatted_path
    for placeholder, value in (case.path_parameters or {}).items():
        if placeholder in ("id", "credential"):
            path = path.replace(f"/{value}", f"/{name}", 1)
    return path


def test_whatever_is_sent_is_answered_as_described(running: Running) -> None:
    operations = _operations(running.document)
    assert len(operations) > 40

    def send(method: str, path: str, case: Any, name: str | None) -> None:
        house = running.api.house
        target = case.formatted_path if name is None else _known(case, name)
        more: dict[str, Any] = {"params": case.query or None}
        if isinstance(case.body, dict | list | str | int | float | bool) or case.body is None:
            more["json"] = case.body
        answered = running.runner.run(house.operate(method, target, **more))
        described = running.document["paths"][path][method.lower()]["responses"]
        allowed = {*described, "502"} if (method, path) in BEYOND else set(described)
        assert str(answered.status_code) in allowed | {"405"}, (method, target, more, answered.text)
        if answered.status_code >= 400:
            assert set(answered.json()) == {"detail", "code", "retry_after", "errors"}
        elif answered.headers.get("content-type", "").startswith("application/json"):
            schema = described[str(answered.status_code)]["content"]["application/json"]["schema"]
            whole = {**schema, "components": running.document["components"]}
            jsonschema_rs.validate(whole, answered.json())

    for (method, path), operation in operations.items():
        _fuzz(operation.as_strategy(), running.ids, partial(send, method, path))


def _fuzz(cases: Any, names: list[str], send: Callable[[Any, str | None], None]) -> None:
    @settings(max_examples=8, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases, name=st.sampled_from([None, *names]))
    def fuzz(case: Any, name: str | None) -> None:
        send(case, name)

    fuzz()
