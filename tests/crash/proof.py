"""Holds what clients sent, what the upstream saw, what the journal says and what the store has against each other.

Read as a stranger would: the journal's lines as JSON, the store with the database's own driver.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.load import Sent
from tests.crash.upstream import Arrived
from tests.running import Gateway, Journal, Line
from tests.store import databases

_SHOWN = 5
_TOKENS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
    "image_cache_read",
    "audio_cache_read",
)
_COLUMNS = ("outcome", "status", "cost", "decision_lane", "decision_seq", "outcome_lane", "outcome_seq")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Calls:
    """The calls of a journal by id. Every decision has its outcome: `read` has looked."""

    decisions: Mapping[str, Line]
    outcomes: Mapping[str, Line]
    refused: Mapping[str, Line]
    """Calls that ended before forwarding: one record that is both."""
    counted: int
    """Refusals the flood rule counted instead."""

    def by_request(self) -> dict[str, str]:
        """Decided calls by the SHA-256 of the body as their client sent it.

        A streamed one's stands in its outcome; if nothing of it was passed on, nowhere: then by its own id.
        """
        found = {
            line.body.get("request_sha256") or self.outcomes[call].body.get("request_sha256", call): call
            for call, line in self.decisions.items()
        }
        assert len(found) == len(self.decisions), "two decisions for one request"
        return found

    def outcome(self, call: str) -> str:
        return str((self.outcomes.get(call) or self.refused[call]).body["outcome"])

    def tally(self) -> Counter[str]:
        return Counter(map(self.outcome, [*self.outcomes, *self.refused]))


def read(journal: Path) -> Calls:
    """The journal of a gateway that has ended. I2: each decision has one outcome; `interrupted` is all that another
    process may say of a call, and only control says it."""
    lines = Journal(journal).poll()
    found: dict[str, dict[str, Line]] = {"decision": {}, "outcome": {}, "call": {}}
    roles: dict[str, str] = {}
    counted = 0
    for line in lines:
        if line.kind in found:
            known = found[line.kind].setdefault(line.body["call"], line)
            assert known is line, f"call {line.body['call']} has two lines {line.kind}: {known.header} {line.header}"
        elif line.kind == "lane_opened" and line.body["lane"] == line.header["lane"]:
            roles[line.body["lane"]] = line.body["role"]
        elif line.kind == "refused_many":
            counted += line.body["count"]
    calls = Calls(found["decision"], found["outcome"], found["call"], counted)
    _same("calls decided and calls with an outcome", calls.decisions, calls.outcomes)
    assert not calls.decisions.keys() & calls.refused.keys(), "a decided call is also recorded as one that never was"
    for call, line in calls.outcomes.items():
        if line.header["lane"] != calls.decisions[call].header["lane"]:
            assert (line.body["outcome"], roles[line.header["lane"]]) == ("interrupted", "control"), line
    return calls


def assert_decided_first(calls: Calls, arrived: Iterable[Arrived], sent: Iterable[Sent]) -> None:
    """I2: whatever the upstream saw has a decision, for the very bytes the client sent and for those that arrived."""
    by_request = calls.by_request()
    bodies = {each.id: each.sha256 for each in sent}
    for each in arrived:
        call = by_request.get(bodies[each.id])
        assert call is not None, f"the upstream saw {each.id}, and no decision is on record"
        decision = calls.decisions[call].body
        assert each.sha256 == decision.get("forwarded_sha256", bodies[each.id]), decision


def assert_ended_as_meant(calls: Calls, sent: Iterable[Sent]) -> None:
    """Nothing else went wrong: every call that was sent is on record, ended as its kind does."""
    by_request = calls.by_request()
    undecided = half_sent = 0
    for each in sent:
        if each.kind.leaves == "in the body" and each.kind.streams_up:
            half_sent += 1
        elif each.kind.leaves == "in the body" or each.kind.outcome == "refused":
            undecided += 1
        else:
            call = by_request.pop(each.sha256, None)
            assert call is not None, f"no record of {each}"
            line = calls.outcomes[call]
            assert line.body["outcome"] == each.kind.outcome, (each, line.body)
            assert each.call in ("", call)
    # Nobody knows the hash of half a body.
    assert [calls.outcome(call) for call in by_request.values()] == ["client_gone"] * half_sent
    assert len(calls.refused) + calls.counted == undecided


def assert_stored(data: Path, calls: Calls) -> None:
    """The store is what the journal is: the same calls, ended in the same way, with the same tokens and cost."""
    names = ["call", *_COLUMNS, *(f"tokens_{part}" for part in _TOKENS)]
    stored = {row[0]: tuple(row[1:]) for row in select(data, f"SELECT {', '.join(names)} FROM traces")}  # noqa: S608
    spans = {row[0] for row in select(data, "SELECT call FROM spans")}
    [[counted]] = select(data, "SELECT coalesce(sum(count), 0) FROM refusals")
    expected = {call: _row(calls.decisions[call], line) for call, line in calls.outcomes.items()}
    expected |= {call: _row(line, line) for call, line in calls.refused.items()}
    _same("calls in the journal and in the store", expected, stored)
    different = [(expected[call], row) for call, row in stored.items() if row != expected[call]]
    assert not different, f"{len(different)} rows differ, (journal, store): {different[:_SHOWN]}"
    _same("calls in the store and calls with spans", stored, dict.fromkeys(spans))
    assert counted == calls.counted


def select(data: Path, statement: str) -> list[Any]:
    """What the store of a data directory answers."""
    address = databases.address(data)
    if address is not None:
        return databases.run(databases.execute(address, statement))
    with closing(sqlite3.connect(f"file:{data / 'store.db'}?mode=ro", uri=True)) as store:
        return store.execute(statement).fetchall()


def assert_verified(house: Gateway) -> None:
    """`gatehouse verify` finds nothing wrong and no call without outcome."""
    checked = house.run("verify", timeout=300)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "intact" in checked.stdout
    assert "without outcome" not in checked.stdout, checked.stdout


def _row(decision: Line, outcome: Line) -> Row:
    usage = outcome.body.get("usage")
    tokens = [None if usage is None else usage.get(part, 0) for part in _TOKENS]
    places = [value for line in (decision, outcome) for value in (line.header["lane"], line.header["seq"])]
    return (*(outcome.body.get(name) for name in _COLUMNS[:3]), *places, *tokens)


def _same(what: str, one: Mapping[str, object], other: Mapping[str, object]) -> None:
    first, second = sorted(one.keys() - other.keys()), sorted(other.keys() - one.keys())
    assert not first, f"{what}: {len(first)} only in the first, {first[:_SHOWN]}"
    assert not second, f"{what}: {len(second)} only in the second, {second[:_SHOWN]}"
