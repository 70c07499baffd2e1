"""Every fault of a provider × every dialect × streamed or not: what the caller gets and what the record says.

The table is `rows.ROWS`. Besides it, for every cell: I1 what was passed on is a prefix of what was sent; I2 one outcome
per decision; I11 errors speak the caller's dialect; a cut answer never ends properly; nothing is sent twice but
to replace a dead connection; no connection that misbehaved serves again; I9 nothing is left behind.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gatehouse.config.settings import Settings
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.record import Outcome
from tests.fakes.misbehaving import Spoken, misbehaving
from tests.faults.before import PATIENCE
from tests.faults.rows import DIALECTS, ROWS, Row
from tests.faults.running import Key, Observed, cells, meet_all, settings_for
from tests.pipeline.house import House, house

CELLS = [(row, dialect, streamed) for row in ROWS for dialect in DIALECTS for streamed in (False, True)]
NAMES = [f"{row.does}-{dialect}-{'stream' if streamed else 'plain'}" for row, dialect, streamed in CELLS]


@dataclass
class All:
    observed: dict[Key, Observed | BaseException]
    descriptors: tuple[int, int]
    """Before and after."""
    tasks: list[str]
    """Of the data plane, still running when every call had ended."""
    busy: list[str]
    """Connections that were neither idle nor gone by then."""

    def of(self, cell: Key) -> Observed:
        found = self.observed[cell]
        if isinstance(found, BaseException):
            raise found
        return found


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[All]:
    """The whole table, met once."""
    with house(Settings()):
        pass  # the event loop's library keeps a few descriptors from its first use on
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with misbehaving() as fake, socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        made = cells(fake, tmp_path_factory.mktemp("certificates"), refusing)
        with house(settings_for(made)) as running:
            observed = asyncio.run(meet_all(running, made))
            tasks, busy = left_over(running)
    gc.collect()
    yield All(observed, (before, len(os.listdir("/proc/self/fd"))), tasks, busy)


def left_over(running: House) -> tuple[list[str], list[str]]:
    async def tasks() -> list[str]:
        mine = (asyncio.current_task(), running._sweeper)
        return [repr(task) for task in asyncio.all_tasks() if task not in mine]

    def busy() -> list[str]:
        pools = running.upstreams._pools.values()
        return [str(pool.origin) for pool in pools for each in pool._all if each.fiber is not None]

    return running.run(tasks()), running.call(busy)


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
def test_a_cell_of_the_table(met: All, cell: Key) -> None:
    seen = met.of(cell)
    check_caller(cell, seen)
    check_record(cell, seen)
    check_connection(cell, seen)


def check_caller(cell: Key, seen: Observed) -> None:
    row, dialect, streamed = cell
    expect = row.expect(dialect, streamed=streamed)
    got = seen.got
    assert got.status == expect.status
    assert not got.excess
    assert got.clean is (expect.gets in ("whole", "part", "error")), "a cut answer must not look whole, nor the reverse"
    if expect.gets == "error":
        check_error(dialect, got.body, seen.outcome)
        assert got.fields["x-gatehouse-error"] == "gateway"
        return
    edited = dialect == "openai" and streamed and "content-encoding" not in got.fields
    sent = without_usage(seen.sent) if edited else seen.sent
    passed = got.body
    if expect.gets == "event":
        passed = check_event(dialect, got.body, sent, seen.outcome)
    if expect.gets == "whole":
        assert passed == sent
    else:
        assert sent.startswith(passed), "I1: what is passed on is what was sent, as far as it came"
        assert b"x-gatehouse" not in passed and b'"code":"UPSTREAM_ERROR"' not in passed
    assert ("x-gatehouse-error" in got.fields) is (expect.status >= 400)
    assert "set-cookie" not in got.fields and b"secret" not in got.body and b"stolen" not in got.body


def check_record(cell: Key, seen: Observed) -> None:
    row, dialect, streamed = cell
    expect = row.expect(dialect, streamed=streamed)
    outcome = seen.outcome
    assert (outcome.outcome, outcome.status, outcome.code) == (expect.outcome, expect.status, expect.code)
    assert reads(expect.reason, outcome.reason or ""), outcome.reason
    assert outcome.upstream_status == expect.answered
    assert (outcome.usage_source or "none") == expect.usage, outcome.usage_note
    assert (outcome.attempts, outcome.replayed) == (row.attempts, row.replayed)
    assert len(seen.outcomes) == len({each.call for each in seen.outcomes}) == row.warm + 1 + (seen.after is not None)
    assert outcome.response_bytes == len(seen.got.body)
    assert outcome.response_sha256 == hashlib.sha256(seen.got.body).hexdigest()


def check_connection(cell: Key, seen: Observed) -> None:
    row, *_ = cell
    if seen.listener is None:
        return
    assert seen.listener.failures == []
    if seen.after is None:
        return
    assert (seen.after.status, seen.after.clean) == (200, True), "the call after the fault is served well"
    assert seen.connections == expected_connections(row), "nothing is sent twice, and nothing misbehaves twice"


def test_I9_nothing_is_left_behind(met: All) -> None:
    assert met.tasks == []
    assert met.busy == []
    before, after = met.descriptors
    assert after <= before


def expected_connections(row: Row) -> list[int]:
    """The provider's connection of each exchange: those before, those that went wrong, the one after."""
    before = [1] * row.warm
    wrong = [1 + number for number in range(len(row.turns))]
    return [*before, *wrong, *fresh_after(row, wrong[-1])]


def fresh_after(row: Row, last: int) -> list[int]:
    # A call that was replayed was served well on its second connection, which then served the next one too.
    if row.replayed and row.plain.gets == "whole":
        return [last + 1, last + 1]
    return [last if row.kept else last + 1]


def reads(pattern: str, text: str) -> bool:
    filled = re.sub(r"\{\w+\}", f"{PATIENCE:g}", pattern)
    return re.fullmatch(re.escape(filled).replace(r"\*", ".+"), text) is not None


def check_error(dialect: Spoken, body: bytes, outcome: Outcome) -> None:
    """I11: a whole error in the caller's dialect, saying what the record says."""
    told = json.loads(body)
    assert told["code"] == "UPSTREAM_ERROR" and told["retry_after"] is None
    assert told["detail"] and "127.0.0.1" not in told["detail"], "callers are not told where a provider is"
    if dialect == "google":
        assert (told["error"]["code"], told["error"]["status"]) == (502, "UNAVAILABLE")
    else:
        assert (told["type"], told["error"]["type"]) == ("error", "api_error")
        assert told["request_id"] == outcome.call
    assert told["error"]["message"] == told["detail"]


def check_event(dialect: Spoken, body: bytes, sent: bytes, outcome: Outcome) -> bytes:
    """The dialect's error event, last and whole. Returns what came before it, without the end put to half an event."""
    opening = {"openai": b'data: {"type":"error"', "anthropic": b"event: error\ndata: ", "google": b'data: {"error"'}
    at = body.rindex(opening[dialect])
    event = body[at:]
    assert event.endswith(b"\r\n\r\n" if dialect == "google" else b"\n\n")
    check_error(dialect, event.partition(b"data: ")[2].strip(), outcome)
    before = body[:at]
    # Anthropic's named event takes over the half one.
    return before if sent.startswith(before) else before.removesuffix(b"\n" if dialect == "anthropic" else b"\n\n")


def without_usage(sent: bytes) -> bytes:
    """What an OpenAI stream would be without the option that the gateway sets and takes out again.

    An event too large to hold passes as it is.
    """
    events = [event for event in sent.split(b"\n\n") if b'"choices":[],' not in event]
    kept = [event if len(event) > DEFAULT_LIMIT else event.replace(b',"usage":null', b"") for event in events]
    return b"\n\n".join(kept)
