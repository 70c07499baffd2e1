"""Revocation under load: once `DELETE` has answered, no worker admits a call of the key.

What a client knows is an order: a request that it sends after it has read the answer comes after the revocation. Each
request says so itself (`X-Gatehouse-Run`), so that the journal can be searched for one that was admitted all the same.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from gatehouse.limits.shared.embedded import binary
from tests import fakes
from tests.crash.owned import Key, Owned, owned
from tests.crash.processes import wait_until
from tests.crash.threads import Threads
from tests.running import Record

CALLERS = 8
RATE = 200
"""Calls a second, of all callers together."""
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 100}
LIMITS = [
    {"measure": "requests", "window": "day", "cap": 1_000_000},
    {"measure": "spend", "window": "month", "cap": 1_000 * 10**9},
    {"measure": "concurrency", "window": "now", "cap": 1_000},
]


class Load(Threads):
    """Callers with connections of their own that keep to `RATE` for as long as the block lasts."""

    def __init__(self, house: Owned, key: Key) -> None:
        super().__init__(*[self._run] * CALLERS)
        self.statuses: Counter[tuple[str, int]] = Counter()
        """By what the requests said of themselves, and what they got."""
        self.revoked = threading.Event()
        self._house = house
        self._key = key

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._house.gateway.port, timeout=20)
        body = json.dumps(CHAT)
        due = time.monotonic()
        while not self.over.is_set():
            run = "after" if self.revoked.is_set() else "before"
            connection.request("POST", "/v1/chat/completions", body, self._key.headers | {"x-gatehouse-run": run})
            answer = connection.getresponse()
            answer.read()
            self.statuses[run, answer.status] += 1
            due += CALLERS / RATE
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()


class Stream:
    """A call of which one event came, and more would for some seconds."""

    def __init__(self, house: Owned, key: Key) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", house.gateway.port, timeout=20)
        headers = key.headers | {"x-fake": "slow=0.5"}
        self._connection.request("POST", "/v1/chat/completions", json.dumps(CHAT | {"stream": True}), headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.readline().startswith(b"data: ")
        self.id = self._answer.headers["x-gatehouse-id"]

    def rest(self) -> bytes:
        """All that still came. One that was ended is broken off, so that nobody takes it for whole."""
        try:
            return self._answer.read()
        except http.client.IncompleteRead as broken:
            return broken.partial
        finally:
            self._connection.close()


@pytest.fixture(scope="module")
def house() -> Iterator[Owned]:
    """Two workers, who count on the embedded Valkey. Every test makes keys of its own."""
    assert binary() is not None, "the extra `valkey` is installed for the suite"
    with fakes.openai(gzip_policy="never") as fake, owned(fake, workers=2) as made:
        yield made


def _ended(house: Owned, calls: list[str]) -> list[Record]:
    wait_until(lambda: set(calls) <= set(house.gateway.journal.records()), 15.0, "the streams have outcomes")
    records = house.gateway.journal.records()
    return [records[call] for call in calls]


def test_no_call_is_admitted_after_the_revocation_answered(house: Owned) -> None:
    """I2 says what was admitted: what has a decision. Running streams end as they would."""
    key = house.key(limits=LIMITS)
    streams = [Stream(house, key) for _ in range(4)]
    with Load(house, key) as load:
        wait_until(lambda: load.statuses["before", 200] > RATE, 20.0, "calls are served")
        house.api("DELETE", f"/keys/{key.id}", status=204)
        answered = datetime.now(UTC)
        load.revoked.set()
        wait_until(lambda: load.statuses["after", 401] > RATE // 2, 20.0, "calls are refused")
    assert {status for run, status in load.statuses if run == "after"} == {401}, load.statuses
    assert {status for run, status in load.statuses if run == "before"} <= {200, 401}, load.statuses
    assert all(b"[DONE]" in stream.rest() for stream in streams), "what ran goes on"
    assert [each.outcome["outcome"] for each in _ended(house, [stream.id for stream in streams])] == ["ok"] * 4
    lines = [line for line in house.gateway.journal.poll() if line.kind == "decision" and line.body["key"] == key.id]
    assert len({line.header["lane"] for line in lines}) == 2, "both workers served the key"
    assert all(line.body.get("run") != "after" for line in lines)
    assert max(datetime.fromisoformat(line.header["time"]) for line in lines) <= answered
    assert house.gateway.worker_pids(), "nobody had to be killed for it"


@pytest.mark.parametrize("by", ["revoke", "disable"])
def test_cut_ends_what_runs(house: Owned, by: str) -> None:
    """`?cut=true`: when it answers, the key's calls have ended, and another key's have not."""
    key, other = house.key(), house.key()
    streams, others = [Stream(house, key) for _ in range(6)], [Stream(house, other) for _ in range(2)]
    if by == "revoke":
        house.api("DELETE", f"/keys/{key.id}?cut=true", status=204)
    else:
        house.api("PATCH", f"/keys/{key.id}?cut=true", {"disabled": True}, status=200)
    told = [stream.rest() for stream in streams]
    assert not any(b"[DONE]" in each for each in told)
    assert all(b"no longer in force" in each for each in told), told
    for record in _ended(house, [stream.id for stream in streams]):
        assert record.outcome["outcome"] == "interrupted"
        assert "no longer in force" in record.outcome["reason"]
    assert all(b"[DONE]" in stream.rest() for stream in others)


def test_cut_on_the_command_line_and_after_the_fact(house: Owned) -> None:
    """Who has revoked a key and sees that it still streams can cut it."""
    key = house.key(name="web")
    done = house.gateway.run("key", "disable", "web", "--cut")
    assert done.returncode == 0, done.stderr
    house.api("PATCH", f"/keys/{key.id}", {"disabled": False}, status=200)
    stream = Stream(house, key)
    house.api("DELETE", f"/keys/{key.id}", status=204)
    house.api("DELETE", f"/keys/{key.id}", status=404)
    house.api("DELETE", f"/keys/{key.id}?cut=true", status=204)
    assert b"no longer in force" in stream.rest()
    refused = house.api("PATCH", f"/keys/{house.key().id}?cut=true", {"name": "x"}, status=400)
    assert refused["errors"][0]["field"] == "cut"
