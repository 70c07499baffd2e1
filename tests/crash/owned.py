"""A real `gatehouse serve` with accounts: an owner, a stored secret, and the management API as a program asks it.

with owned(fake, workers=2) as house:
    key = house.key(limits=[])
    house.api("DELETE", f"/keys/{key.id}")
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests import running
from tests.fakes.server import Fake
from tests.running import Gateway

OWNER = {"GATEHOUSE_OWNER_EMAIL": "ann@example.com", "GATEHOUSE_OWNER_PASSWORD": "correct horse battery"}
STORED = "sk-stored-with-the-gateway-7315"


@dataclass(frozen=True)
class Key:
    """A gateway key that was made."""

    id: str
    text: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.text}", "content-type": "application/json"}


@dataclass
class Owned:
    """A gateway, and its owner's platform token."""

    gateway: Gateway
    token: str = field(repr=False, default="")

    def operate(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        """As the operator, on the control socket. `status`: what the answer must be, else any 2xx."""
        transport = httpx2.HTTPTransport(uds=str(self.gateway.data / "run" / "control.sock"))
        headers = {"x-gatehouse-local-token": (self.gateway.data / "run" / "local-token").read_bytes().hex()}
        with httpx2.Client(transport=transport, base_url="http://control/api/v1", timeout=30) as client:
            return _said(client.request(method, path.removeprefix("/"), json=body, headers=headers), status)

    def api(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        """As the owner, on the gateway's port."""
        headers = {"authorization": f"Bearer {self.token}"}
        with httpx2.Client(base_url=f"{self.gateway.url}/api/v1", timeout=30, trust_env=False) as client:
            return _said(client.request(method, path.removeprefix("/"), json=body, headers=headers), status)

    def key(self, **fields: Any) -> Key:
        """A new one, without limits unless `fields` name some."""
        made = self.api("POST", "/keys", {"limits": [], **fields})
        return Key(made["id"], made["key"])


def _said(answer: httpx2.Response, status: int | None) -> Any:
    assert answer.is_success if status is None else answer.status_code == status, (answer.status_code, answer.text)
    return json.loads(answer.content) if answer.content else None


@contextlib.contextmanager
def owned(
    fake: Fake, *, workers: int = 1, data: Path | None = None, config: Mapping[str, Any] | None = None
) -> Iterator[Owned]:
    """In front of a fake OpenAI, whose key is stored; the project `default` uses it."""
    settings = {
        "providers": {"openai": {"base_url": fake.url}},
        "server": {"workers": workers},
        "auth": {"enabled": True},
        **(config or {}),
    }
    with running.gateway(settings, data=data, env=OWNER) as gateway:
        house = Owned(gateway)
        if not house.operate("GET", "/credentials")["items"]:
            stored = {"name": "main", "provider": "openai", "secret": STORED}
            made = house.operate("POST", "/credentials", stored)
            house.operate("PUT", f"/projects/default/providers/openai/{made['id']}", {})
        owner = house.operate("GET", "/users")["items"][0]["id"]
        house.token = house.operate("POST", "/auth/token", {"user": owner, "ttl_seconds": 3600})["token"]
        yield house
