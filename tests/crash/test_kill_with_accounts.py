"""I2, I4, I7 with accounts: whoever dies under load while keys are made and revoked, nothing of it is lost or held.

Two workers count on the embedded Valkey. A worker, control, Valkey and the supervisor are killed (`kill -9`) at random
moments. Afterwards: what limits say is left is what the journal says; no reservation is held by anybody; each change
that was acknowledged is in the journal and in force; no process is left.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gatehouse.limits.shared.embedded import binary
from tests import fakes
from tests.crash import processes
from tests.crash.owned import Key, Owned, owned
from tests.crash.processes import control_pid, kill, wait_until
from tests.crash.threads import Threads
from tests.fakes.server import Fake

CAP = 1_000 * 10**9
CALLS = 100
"""At a time: the cap on concurrency."""
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 100}
LIMITS = [
    {"measure": "spend", "window": "total", "cap": CAP},
    {"measure": "concurrency", "window": "now", "cap": CALLS},
    {"measure": "requests", "window": "day", "cap": 1_000_000},
]
LEASED = 2.5
"""Seconds after which nothing is leased any more (`docs/limits.md`)."""
STRIKES = ("valkey", "worker", "control", "control and valkey")
REMAINING = "x-gatehouse-ratelimit-remaining"


def ask(house: Owned, key: Key, client: httpx2.Client, **headers: str) -> httpx2.Response:
    return client.post(f"{house.gateway.url}/v1/chat/completions", json=CHAT, headers=key.headers | headers)


class Busy(Threads):
    """Callers, some of whom stream slowly, and an administrator, for as long as the block lasts."""

    def __init__(self, house: Owned, key: Key) -> None:
        super().__init__(self._call, self._call, self._call, self._stream, self._stream, self._administer)
        self.statuses: Counter[int] = Counter()
        self.made: list[str] = []
        """Keys whose making was acknowledged."""
        self.revoked: list[str] = []
        self._house = house
        self._key = key

    def _call(self) -> None:
        while not self.over.is_set():
            with contextlib.suppress(httpx2.HTTPError), httpx2.Client(timeout=15, trust_env=False) as client:
                while not self.over.is_set():
                    self.statuses[ask(self._house, self._key, client).status_code] += 1
                    time.sleep(0.02)
            time.sleep(0.05)

    def _stream(self) -> None:
        while not self.over.is_set():
            with contextlib.suppress(httpx2.HTTPError), httpx2.Client(timeout=15, trust_env=False) as client:
                ask(self._house, self._key, client, **{"x-fake": "slow=0.1"})
            time.sleep(0.05)

    def _administer(self) -> None:
        while not self.over.is_set():
            # While control is away nobody answers; what was not acknowledged may be so or not.
            with contextlib.suppress(httpx2.HTTPError, AssertionError):
                key = self._house.key()
                self.made.append(key.id)
                self._house.api("DELETE", f"/keys/{key.id}")
                self.revoked.append(key.id)
            time.sleep(0.05)


def valkey_pid(house: Owned) -> int | None:
    return next((pid for pid, command in house.gateway.children().items() if "valkey-server" in command), None)


def strike(house: Owned, victim: str, chance: random.Random) -> None:
    gateway = house.gateway
    if victim == "worker":
        kill(chance.choice(wait_until(gateway.worker_pids, 30.0, "a worker runs")))
    if "valkey" in victim:
        kill(wait_until(lambda: valkey_pid(house), 30.0, "the server of limits runs"))
    if "control" in victim:
        kill(wait_until(lambda: control_pid(gateway), 30.0, "control runs"))


def settled(house: Owned, counter: str) -> tuple[int, int]:
    """By the journal: what is settled on a counter, and what is held by calls without outcome."""
    spent, held = 0, {}
    for line in house.gateway.journal.poll():
        amounts: list[dict[str, Any]] = line.body.get("reserved" if line.kind == "decision" else "settled") or []
        for one in amounts:
            if one["counter"] == counter and line.kind == "decision":
                held[line.body["call"]] = one["amount"]
            elif one["counter"] == counter:
                spent += one["amount"]
                held.pop(line.body["call"], None)
    return spent, sum(held.values())


def assert_quiet(house: Owned, key: Key) -> None:
    """What limits say is left is what the journal says, and nobody holds anything."""
    counter = f"default/key/{key.id}/spend/total"
    wanted, found = (0, 0, 0), (-1, -1, -1)

    def agreed() -> bool:
        nonlocal wanted, found
        # Workers give back what they leased while nobody calls: each look is a call.
        time.sleep(LEASED)
        before, held = settled(house, counter)
        with httpx2.Client(timeout=15, trust_env=False) as client:
            answer = ask(house, key, client)
        if answer.status_code != 200:
            return False
        # The answer's headers count the call itself as it was reserved.
        call = answer.headers["x-gatehouse-id"]
        lines = house.gateway.journal.poll()
        decision = next(line.body for line in lines if line.kind == "decision" and line.body["call"] == call)
        own = next(one["amount"] for one in decision["reserved"] if one["counter"] == counter)
        left = int(answer.headers[f"{REMAINING}-spend"])
        wanted = 0, CAP - before - own, CALLS - 1
        found = held, left, int(answer.headers[f"{REMAINING}-concurrency"])
        return found == wanted

    try:
        wait_until(agreed, 40.0, "limits and journal agree, and nothing is held")
    except AssertionError as error:
        raise AssertionError(f"{error}: held, left, concurrency: {found} rather than {wanted}") from None


def assert_on_record(house: Owned, busy: Busy) -> None:
    """Each acknowledged change is a line of the journal, once, and so is the directory."""
    wait_until(lambda: control_pid(house.gateway), 30.0, "control runs")

    def lines(action: str) -> Counter[str]:
        found = (line.body for line in house.gateway.journal.poll() if line.kind == "admin")
        return Counter(each["target"] for each in found if each["action"] == action)

    wait_until(lambda: set(busy.made) <= set(lines("key.create")), 15.0, "every key that was made is on record")
    wait_until(lambda: set(busy.revoked) <= set(lines("key.revoke")), 15.0, "and every revocation")
    there = {each["id"] for each in house.api("GET", "/keys?limit=500")["items"]}
    assert not there & set(busy.revoked)
    assert set(busy.made) - set(busy.revoked) <= there | set(lines("key.revoke"))


@pytest.fixture
def fake() -> Any:
    with fakes.openai(gzip_policy="never") as made:
        yield made


@pytest.mark.timeout(180)
def test_I4_nothing_is_lost_or_held(tmp_path: Path, fake: Fake) -> None:
    assert binary() is not None, "the extra `valkey` is installed for the suite"
    chance = random.Random(7)
    data = tmp_path / "data"
    with owned(fake, workers=2, data=data) as house:
        key = house.key(limits=LIMITS)
        with Busy(house, key) as busy:
            for victim in STRIKES:
                served, made = busy.statuses[200], len(busy.made)
                wait_until(lambda n=served: busy.statuses[200] > n + 10, 40.0, f"calls are served: {victim}")  # type: ignore[misc]
                wait_until(lambda n=made: len(busy.made) > n, 40.0, f"keys are made: {victim}")  # type: ignore[misc]
                time.sleep(chance.uniform(0.0, 0.3))
                strike(house, victim, chance)
            served = busy.statuses[200]
            wait_until(lambda: busy.statuses[200] > served + 10, 40.0, "calls are served")
        assert_quiet(house, key)
        assert_on_record(house, busy)
        assert set(busy.statuses) <= {200, 502, 503}, busy.statuses
        kill(house.gateway.pid)
        house.gateway.process.wait(10)
        wait_until(lambda: not processes.of(data), 10.0, "no process is left")
    with owned(fake, workers=2, data=data) as house:
        assert_quiet(house, key)
        assert_on_record(house, busy)
        assert house.gateway.run("verify").returncode == 0
        doctor = house.gateway.run("doctor")
        assert doctor.returncode == 0 and re.search(r"^ok +limits +connected$", doctor.stdout, re.MULTILINE), (
            doctor.stdout
        )
        assert "lines behind" in doctor.stdout, "control tells the operator more than strangers"
        house.gateway.stop()
        processes.assert_nothing_left(data, house.gateway.port)
