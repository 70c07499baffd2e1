"""Responses in the background when workers die and are started anew: whoever reads one counts what it used, once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gatehouse.limits.shared.embedded import binary
from tests import fakes
from tests.crash.owned import Key, Owned, owned
from tests.crash.processes import kill, wait_until
from tests.fakes.server import Fake
from tests.limits.shared.servers import valkey
from tests.running import Record

RESPONSES = "/openai/v1/responses"
BEGIN = {"model": "gpt-5-mini", "input": "Say hello", "background": True, "max_output_tokens": 5000}
CAP, ASSUMED = 100_000_000, 5_000_000
LIMITS = [
    {"measure": "spend", "window": "month", "cap": CAP, "assumed": ASSUMED},
    {"measure": "tokens", "window": "day", "cap": 1_000_000},
]
LEFT = "x-gatehouse-ratelimit-remaining-spend"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as upstream:
        yield upstream


def ask(house: Owned, key: Key, method: str, path: str, body: Any = None) -> httpx2.Response:
    """Again, while nobody serves or limits are being rebuilt."""

    def asked() -> list[httpx2.Response]:
        try:
            with httpx2.Client(timeout=15, trust_env=False) as client:
                content = None if body is None else json.dumps(body)
                answer = client.request(method, house.gateway.url + path, content=content, headers=key.headers)
        except httpx2.HTTPError:
            return []
        return [answer] if answer.status_code == 200 else []

    [answer] = wait_until(asked, 40.0, f"{method} {path} is answered")
    return answer


def recorded(house: Owned, answer: httpx2.Response) -> Record:
    call = answer.headers["x-gatehouse-id"]
    wait_until(lambda: call in house.gateway.journal.records(), 20.0, "it is on record")
    return house.gateway.journal.records()[call]


def begin(house: Owned, key: Key) -> tuple[str, str]:
    """A response, and the call that began it."""
    answer = ask(house, key, "POST", RESPONSES, BEGIN)
    assert answer.json()["status"] == "queued"
    return answer.json()["id"], recorded(house, answer).call


def read(house: Owned, key: Key, response: str) -> dict[str, Any]:
    """The outcome of reading it."""
    return recorded(house, ask(house, key, "GET", f"{RESPONSES}/{response}")).outcome


@pytest.mark.parametrize("workers", [1, 2])
def test_I4_killed_workers_and_another_start(workers: int, tmp_path: Path, fake: Fake) -> None:
    assert binary() is not None, "the extra `valkey` is installed for the suite"
    with owned(fake, workers=workers, data=tmp_path / "data") as house:
        key = house.key(limits=LIMITS)
        first, began = begin(house, key)
        for pid in house.gateway.worker_pids():
            kill(pid)
        told = read(house, key, first)
        assert told["reports"] == began and told["cost"] > 0
        assert "reports" not in read(house, key, first)
        second, began = begin(house, key)
    with owned(fake, workers=workers, data=tmp_path / "data") as house:
        more = read(house, key, second)
        assert more["reports"] == began
        left = CAP - told["cost"] - more["cost"]

        def counted() -> object:
            return str(left) == ask(house, key, "GET", "/openai/v1/models").headers[LEFT]

        wait_until(counted, 30.0, "limits count what the two used")
        verified = house.gateway.run("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def test_machines_that_share_a_server(tmp_path: Path, fake: Fake) -> None:
    """Begun through one, read through the other."""
    with valkey() as server, contextlib.ExitStack() as stack:
        config = {"redis": {"url": server.url}}
        here, there = (
            stack.enter_context(owned(fake, data=tmp_path / name, config=config)) for name in ("here", "there")
        )
        mine, theirs = here.key(), there.key()
        response, began = begin(here, mine)
        told = read(there, theirs, response)
        assert told["reports"] == began and told["cost"] > 0
        assert "reports" not in read(here, mine, response)
        assert not (here.gateway.data / "background").exists()
