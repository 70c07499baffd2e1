"""The whole management API over a real directory, called as workers pass requests on: by browsers, programs, others."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from cryptography.fernet import Fernet
from fastapi import FastAPI

from gatehouse.auth import passwords
from gatehouse.auth.platform import PlatformTokens
from gatehouse.auth.vault import Vault
from gatehouse.collector.feed import Feed
from gatehouse.collector.tally import Tally
from gatehouse.config import control_headers
from gatehouse.config.loads import Loads
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Callouts, Secrets, Sso
from gatehouse.control import app, founding
from gatehouse.control.accounts import Accounts, Hashing
from gatehouse.control.administration import Administration, Engines, Means
from gatehouse.control.callout import Callout, Resolve
from gatehouse.control.cookies import Origins
from gatehouse.control.doors import Doors
from gatehouse.control.duties import Duties
from gatehouse.control.oidc import Provider
from gatehouse.control.sealing import MasterKeys
from gatehouse.control.sso import SingleSignOn
from gatehouse.errors import GatehouseError
from gatehouse.journal.records import Admin
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import Event, NewKey, NewProject, NewTenant, NewUser
from gatehouse.store.reading import Readers
from tests.control.serving import well
from tests.store import databases

URL = "https://gateway.example"
LOCAL = bytes(range(32))
OPERATOR = {control_headers.LOCAL_TOKEN: LOCAL.hex()}
PASSWORD = "correct horse battery"
OWNER = "owner@example.com"
ELSEWHERE = "203.0.113.9"
CLIENT_SECRET = "the-client-secret"


@functools.cache
def hashed() -> str:
    """What is kept of `PASSWORD`; made once, for it takes as long as it is meant to."""
    return passwords.hash(PASSWORD)


class Lines:
    """A journal that takes every line."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Admin]] = []

    def append(
        self,
        kind: str,
        body: msgspec.Struct,
        tenant: str = "",
        *,
        written: Callable[[GatehouseError | None], None] | None = None,
    ) -> None:
        assert kind == "admin" and isinstance(body, Admin) and written is not None
        self.events.append((tenant, body))
        written(None)


class Workers:
    """Whom newer snapshots are published to; counts what had to be in force."""

    def __init__(self) -> None:
        self.awaited = 0
        self.held: asyncio.Event | None = None
        """What they wait for before they go by a newer one."""

    async def publish(self, cut: tuple[str, ...] = ()) -> int:
        return 1

    async def published(self, version: int) -> None:
        self.awaited += 1
        if self.held is not None:
            await self.held.wait()


@dataclass
class House:
    """A running API."""

    application: FastAPI
    client: httpx2.AsyncClient
    accounts: Accounts
    lines: Lines
    workers: Workers
    data: DataDir
    sso: SingleSignOn | None = None
    made: dict[str, str] = field(default_factory=dict)
    """What was made for the test, by a name."""

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, *, peer: str = ELSEWHERE, **more: Any
    ) -> httpx2.Response:
        """As a worker passes it on from somewhere else, without any cookie."""
        passed = {"x-gatehouse-peer": peer, "x-gatehouse-base": URL, **(headers or {})}
        return await self.client.request(method, path, headers=passed, **more)

    async def operate(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """With the local token, on the control socket."""
        return await self.client.request(method, path, headers=OPERATOR, **more)

    async def log_in(self, email: str = OWNER, password: str = PASSWORD, **more: Any) -> httpx2.Response:
        body = {"email": email, "password": password, **more}
        return await self.ask("POST", "/api/v1/session", {"origin": URL}, json=body)

    def said(self, action: str) -> list[Admin]:
        """Events of this kind on record."""
        return [each for _, each in self.lines.events if each.action == action]

    async def found(self) -> None:
        """An owner is there."""
        made = await founding.set_up(self.accounts.administration.operator, founding.Owner(OWNER, hashed()))
        self.made["owner"] = made.user

    async def user(self, role: str, tenant: str = ids.DEFAULT) -> str:
        """A user without a password; its id."""
        new = NewUser(ids.new("user"), f"{ids.new('user')}@example.com", role)
        await self.accounts.administration.tenant(tenant).create_user(new, event("user.create", new.id))
        return new.id

    async def bearer(self, user: str, tenant: str = ids.DEFAULT, **more: Any) -> dict[str, str]:
        """Headers with a platform token of a user."""
        query = {"tenant": tenant}
        made = await self.operate("POST", "/api/v1/auth/token", params=query, json={"user": user, **more})
        assert made.status_code == 201, made.text
        return {"authorization": f"Bearer {made.json()['token']}"}

    async def tenant(self) -> str:
        """Another tenant with a project and an owner; its id."""
        new = NewTenant(ids.new("tenant"), ids.new("tenant"))
        project = NewProject(ids.new("project"), str(ids.uuid7()), "default")
        owner = NewUser(ids.new("user"), OWNER, "owner")
        events = [event("tenant.create", new.id), event("project.create", project.id), event("user.create", owner.id)]
        await self.accounts.administration.operator.set_up(new, project, owner, events)
        self.made["other project"], self.made["other owner"] = project.id, owner.id
        return new.id

    async def key(self, digest: bytes, **more: Any) -> str:
        """A gateway key of the first project; its id."""
        new = NewKey(ids.new("key"), digest, "abcd", ids.DEFAULT, **more)
        await self.accounts.administration.tenant(ids.DEFAULT).create_key(new, event("key.create", new.id))
        return new.id


def event(action: str, target: str) -> Event:
    return Event(ids.new("event"), time.time_ns() // 1000, "operator", action, action.partition(".")[0], target)


@asynccontextmanager
async def house(
    place: Path,
    *,
    enabled: bool = True,
    founded: bool = True,
    sso: Sso | None = None,
    callouts: Callouts | None = None,
    public_url: str | None = None,
    secret: str | None = CLIENT_SECRET,
    providers: Mapping[str, ProviderEntry] | None = None,
    resolve: Resolve | None = None,
    clock: Callable[[], float] = time.monotonic,
    hashing: Hashing | None = None,
) -> AsyncIterator[House]:
    """The API over the databases of `place`."""
    data = DataDir(place / "data")
    data.create()
    engines = Engines(access.located(databases.url(place)))
    lines, workers, callout = Lines(), Workers(), Callout(callouts or Callouts(), resolve=resolve)
    means = Means(Vault([Fernet.generate_key()]), providers or {}, callout, URL)
    administration = Administration(engines, lines, workers, means)
    accounts = Accounts(
        administration=administration,
        data=data,
        tokens=PlatformTokens(bytes(32)),
        origins=Origins(public_url),
        local_token=LOCAL,
        enabled=enabled,
        sso=sso is not None,
        clock=clock,
        hashing=hashing or Hashing(),
    )
    sign_on = None if sso is None else SingleSignOn(accounts, sso, Provider(sso, secret, callout))
    readers, loads = Readers(databases.url(place)), Loads.create(1)
    duties = Duties(administration, MasterKeys(Secrets(), data, {}))
    made = app.create(readers, well, tally=Tally(), feed=Feed(), loads=loads, doors=Doors(accounts, sign_on, duties))
    try:
        await administration.open()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=made), base_url="http://control") as client:
            found = House(made, client, accounts, lines, workers, data, sign_on)
            if founded:
                await found.found()
            yield found
    finally:
        await engines.aclose()
        await readers.aclose()
        os.close(loads.fd)


class Browser:
    """Keeps our cookies, and says which page it is on."""

    def __init__(self, house: House, origin: str = URL, address: str = ELSEWHERE) -> None:
        self.house = house
        self.origin = origin
        self.address = address
        self.cookies: dict[str, str] = {}

    async def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = dict(more.pop("headers", {}))
        if method != "GET":
            headers.setdefault("origin", self.origin)
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answered = await self.house.ask(method, path, headers, peer=self.address, **more)
        for line in answered.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0]
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        self.house.client.cookies.clear()
        return answered

    async def log_in(self, email: str = OWNER, password: str = PASSWORD, **more: Any) -> httpx2.Response:
        return await self.ask("POST", "/api/v1/session", json={"email": email, "password": password, **more})
