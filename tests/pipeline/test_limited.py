"""pipeline/limited.py: what a call settles by, whatever its provider claims and however it was cut (I4)."""

from __future__ import annotations

import msgspec
import pytest

from gatehouse.limits.claim import Claim
from gatehouse.limits.local import LocalLimits
from gatehouse.model.background import Begun
from gatehouse.model.limits import Bound, LimitEntry, OnUnknown, Settled
from gatehouse.model.usage import MOST_COST, MOST_TOKENS
from gatehouse.pipeline.limited import Limited, correct, moment

SPEND, TOKENS = "ten/project/prj/spend/total", "ten/project/prj/tokens/day"
ASSUMED = 1000


def reserved(on_unknown: OnUnknown = "bound", tokens: int = 500) -> Limited:
    """A call that nobody knows the bound of, and that holds what is assumed."""
    limits = LocalLimits()
    entries = (
        LimitEntry("lim_s", "ten", "project", "prj", "spend", "total", 10**9, on_unknown=on_unknown, assumed=ASSUMED),
        LimitEntry("lim_t", "ten", "project", "prj", "tokens", "day", 10**9, on_unknown=on_unknown),
    )
    limits.configure({entry.id: entry for entry in entries}, moment())
    claim = Claim("ten", "prj", "key_a")
    assert limits.admit(claim, moment()) is None
    assert limits.reserve(claim, Bound(tokens, None, "a WebSocket"), moment()) is None
    return Limited(limits, claim)


def amounts(limited: Limited) -> dict[str, int]:
    return {one.counter: one.amount for one in limited.claim.settled}


@pytest.mark.parametrize(
    ("tokens", "cost", "expected"),
    [
        (90_000, 700_000, {SPEND: 700_000, TOKENS: 90_000}),
        (90_000, 10, {SPEND: ASSUMED, TOKENS: 90_000}),
        (20, 700_000, {SPEND: 700_000, TOKENS: 500}),
        (20, 10, {SPEND: ASSUMED, TOKENS: 500}),
        (20, None, {SPEND: ASSUMED, TOKENS: 500}),
    ],
)
def test_I4_what_was_seen_of_a_call_that_was_cut_counts_even_beyond_its_bound(
    tokens: int, cost: int | None, expected: dict[str, int]
) -> None:
    """A conversation of a hundred answers costs no less because the last was cut."""
    limited = reserved()
    told = limited.settle(tokens, cost, estimated=True)
    assert amounts(limited) == expected and told == limited.claim.settled
    assert {one.counter: one.reserved for one in told} == {SPEND: ASSUMED, TOKENS: 500}


def test_an_estimate_counts_as_it_is_where_the_limit_says_so() -> None:
    limited = reserved("estimate")
    limited.settle(20, 10, estimated=True)
    assert amounts(limited) == {SPEND: 10, TOKENS: 20}


def test_I4_what_is_claimed_beyond_all_sense_counts_as_the_most_there_is() -> None:
    limited = reserved()
    limited.settle(2**64, 2**80, estimated=False)
    assert amounts(limited) == {SPEND: MOST_COST, TOKENS: MOST_TOKENS}


def test_I4_a_later_report_beyond_all_sense_counts_as_the_most_there_is() -> None:
    limited = reserved()
    settled = limited.settle(None, None, estimated=False)
    begun = Begun("call", 1.0, 1, "prices", False, settled)
    changed = correct(limited._limits, begun, 2**64, 2**80)
    assert {one.counter: one.amount for one in changed} == {SPEND: MOST_COST - ASSUMED, TOKENS: MOST_TOKENS - 500}


def test_a_later_report_of_unknown_cost_corrects_tokens_alone_and_of_an_own_key_no_spend() -> None:
    limited = reserved()
    settled = limited.settle(None, None, estimated=False)
    begun = Begun("call", 1.0, 1, "prices", False, settled)
    assert correct(limited._limits, begun, 20, None) == (Settled(TOKENS, "", 0, -480),)
    own = msgspec.structs.replace(begun, own=True, settled=(Settled(SPEND, "", 0, 0),))
    assert correct(limited._limits, own, 20, 700) == ()
