"""The flood rule."""

from __future__ import annotations

import msgspec

from gatehouse.journal.refusals import OF_TENANT, PER_SECOND, SECOND, FloodGate
from tests.journal.samples import refusal

START = 1_795_000_000 * SECOND


def test_ten_a_second_per_code_pass() -> None:
    gate = FloodGate()
    for second in range(3):
        now = START + second * SECOND
        passed = [gate.passes(refusal(str(n)), now + n) for n in range(100)]
        assert passed.count(True) == PER_SECOND
        assert gate.passes(refusal("x", "NOT_FOUND"), now + 200)


def test_nor_does_a_key_beyond_its_limits_fill_the_disk() -> None:
    """A key over its limits is refused as fast as it can ask; other tenants, and other refusals, keep their lines."""
    gate = FloodGate()
    storm = [gate.passes(refusal(str(n), "RATE_LIMITED"), START + n, "greedy") for n in range(1000)]
    assert storm.count(True) == OF_TENANT
    assert gate.passes(refusal("x", "MODEL_DENIED"), START, "greedy")
    assert gate.passes(refusal("x", "RATE_LIMITED"), START, "other")
    assert gate.passes(refusal("x", "RATE_LIMITED"), START)
    assert gate.passes(refusal("x", "RATE_LIMITED"), START + SECOND, "greedy")


def test_the_clock_may_go_back() -> None:
    gate = FloodGate()
    for n in range(PER_SECOND):
        assert gate.passes(refusal(str(n)), START)
    assert not gate.passes(refusal("x"), START)
    assert gate.passes(refusal("x"), START - 3600 * SECOND)


def test_what_was_counted_comes_out_once_a_second_old() -> None:
    gate = FloodGate()
    gate.count("t", refusal("1"), START)
    gate.count("t", refusal("2"), START + 5_000)
    assert gate.due(START + SECOND - 1) == []
    gate.count("u", refusal("3", "NOT_FOUND"), START + SECOND)
    ((tenant, summary),) = gate.due(START + SECOND)
    assert tenant == "t"
    assert msgspec.to_builtins(summary) == {
        "project": "default",
        "code": "UNAUTHORIZED",
        "reason": "no key",
        "count": 2,
        "since": "2026-11-18T11:06:40.000000Z",
        "until": "2026-11-18T11:06:40.000005Z",
    }
    assert [tenant for tenant, _ in gate.due(START + SECOND, everything=True)] == ["u"]
    assert gate.due(START + 9 * SECOND, everything=True) == []


def test_a_client_that_left_counts_under_its_outcome() -> None:
    gate = FloodGate()
    gate.count("t", msgspec.structs.replace(refusal("1"), code=None, outcome="client_gone"), START)
    assert gate.due(START + SECOND)[0][1].code == "client_gone"
