"""The management API with providers to administer: what tests of projects, credentials, keys and limits share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gatehouse.config.settings import Callouts, Provider, Settings
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.providers.entries import entries
from tests.control.doors import House, house

SECRET = "sk-planted-0123456789abcdef"


def providers(**own: str) -> dict[str, ProviderEntry]:
    """The built-in ones, with other base URLs."""
    return entries(Settings(providers={name: Provider(base_url=url) for name, url in own.items()}))


class Administered:
    """A house, asked as one of its people. Every answer is kept."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.headers: Mapping[str, str] | None = None
        self.answers: list[str] = []

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        """The JSON of an answer with this status: as the operator, unless `headers` say otherwise."""
        headers = more.pop("headers", self.headers)
        if body is not None:
            more["json"] = body
        if headers is None:
            answered = await self.house.operate(method, f"/api/v1{path}", **more)
        else:
            answered = await self.house.ask(method, f"/api/v1{path}", headers, **more)
        self.answers.append(answered.text)
        assert answered.status_code == status, (answered.status_code, answered.text)
        return answered.json() if answered.content else None

    async def problem(self, method: str, path: str, body: Any, status: int = 400, **more: Any) -> set[str]:
        """The fields that an error names."""
        found = await self.ask(method, path, body, status, **more)
        return {each["field"] for each in found["errors"]}

    async def credential(self, name: str = "main", **more: Any) -> Any:
        """A stored secret of OpenAI."""
        body = {"name": name, "provider": "openai", "secret": SECRET, **more}
        return await self.ask("POST", "/credentials", body, 201)


@asynccontextmanager
async def administered(
    place: Path, *, own: Mapping[str, str] | None = None, callouts: Callouts | None = None
) -> AsyncIterator[Administered]:
    async with house(place, providers=providers(**(own or {})), callouts=callouts, resolve=_here) as made:
        yield Administered(made)


async def _here(host: str, port: int) -> list[str]:
    """No name leads away from this machine."""
    if host != "localhost":
        raise OSError("nowhere")
    return ["127.0.0.1"]


def run(place: Path, test: Callable[[Administered], Coroutine[Any, Any, None]], **more: Any) -> None:
    """A test over the API."""

    async def all_of_it() -> None:
        async with administered(place, **more) as api:
            await test(api)

    asyncio.run(all_of_it())


def bearer(text: str) -> dict[str, str]:
    """Headers with a gateway key."""
    return {"authorization": f"Bearer {text}"}
