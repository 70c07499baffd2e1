"""A gateway with accounts before the four fake providers, as its owner has set it up: a stored secret for each of them.

Set up as people do: `gatehouse init` before `serve`, a platform token, the management API for the rest.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests import running
from tests.running import House

PASSWORD: Final = "correct-horse-battery"
SECRET: Final = "stored-secret-of-{}-7733"


@dataclass(frozen=True)
class Accounts:
    """What its owner has in hand."""

    house: House
    token: str
    """A platform token, of the owner."""
    uuid: str
    """Of the project `default`."""

    def ask(self, method: str, path: str, body: object = None, expected: int = 200) -> Any:
        """The management API, at any of its addresses."""
        status, found = self.told(method, path, body, {"authorization": f"Bearer {self.token}"})
        assert status == expected, (method, path, found)
        return found

    def told(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body of any request; JSON both ways."""
        sent = None if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", "accept-encoding": "identity", **(headers or {})}
        status, _, answer = self.house.gateway.call(method, path, sent, given)
        return status, json.loads(answer) if answer else None

    def key(self, **given: Any) -> Any:
        """A gateway key just made."""
        return self.ask("POST", "/api/v1/keys", given, 201)


@contextlib.contextmanager
def accounts(data: Path, extra: Mapping[str, Any] | None = None) -> Iterator[Accounts]:
    """One that runs. `data`: a directory that is not there yet."""
    init = [sys.executable, "-m", "gatehouse", "init", "--data", str(data), "--email", "owner@example.com"]
    environment = running.environment()
    done = subprocess.run(
        [*init, "--password-stdin"], input=PASSWORD, capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    with running.house(extra, data=data) as house:
        token = json.loads(house.gateway.run("token", "create", "--format", "json").stdout)["token"]
        found = Accounts(house, token, "")
        for provider in ("openai", "anthropic", "google", "azure"):
            body = {"name": provider, "provider": provider, "secret": SECRET.format(provider)}
            made = found.ask("POST", "/api/v1/credentials", body, 201)
            project = found.ask("PUT", f"/api/v1/projects/default/providers/{provider}/{made['id']}", {})
        yield Accounts(house, token, project["uuid"])


def until(found: Callable[[], bool], timeout: float = 10.0) -> None:
    """Until it is so."""
    deadline = time.monotonic() + timeout
    while not found():
        assert time.monotonic() < deadline, f"this was not so within {timeout} s"
        time.sleep(0.02)


def stored(tenant: Accounts, call: str, timeout: float = 10.0) -> Any:
    """The trace of an ended call, once it is collected."""
    deadline = time.monotonic() + timeout
    while True:
        status, trace = tenant.told("GET", f"/api/v1/traces/{call}", None, {"authorization": f"Bearer {tenant.token}"})
        if status == 200 and trace["outcome"] != "open":
            return trace
        assert time.monotonic() < deadline, f"{call} is not in the store after {timeout} s: {status} {trace}"
        time.sleep(0.02)
