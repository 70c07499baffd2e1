"""limits/local.py: a call's steps over all its limits, by example. The promise itself (I4) is proved in `test_i4`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gatehouse import errors
from gatehouse.dialects.registry import for_endpoint
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.local import LocalLimits
from gatehouse.model.call import Dialect
from gatehouse.model.limits import Bound, Clamp, Reserved, Settled
from gatehouse.model.moment import Moment
from gatehouse.model.usage import MOST_COST
from tests.limits.limited import DAY, HOUR, MINUTE, NOON, SECOND, House, entry

DOLLAR = 1_000_000_000
ROUTES: tuple[tuple[Dialect, str], ...] = (
    ("openai", "chat"), ("anthropic", "messages"), ("google", "generate_content"),
)  # fmt: skip
MIDNIGHT = NOON + 12 * HOUR


def spend(cap: int, **more: Any) -> House:
    return House(entry("spend", "day", cap, **more))


def test_without_limits_nothing_is_asked() -> None:
    house = House()
    assert not house.limits.active
    claim = house.admitted()
    assert house.reserve(claim, 10**12, None) is None
    house.settle(claim, 1, 1)
    assert (claim.kept, claim.reserved, claim.settled, house.limits.lines(claim, house.clock.now())) == (
        None, (), (), b"",
    )  # fmt: skip


def test_limits_of_others_are_not_ours() -> None:
    house = House(entry("requests", "minute", 0, scope_id="key_b"))
    assert house.limits.active
    assert house.admitted().kept is None
    other = Claim("other", "prj", "key_b", None, "gpt-4o", "crd")
    assert house.limits.admit(other, house.clock.now()) is None, "the same id in another tenant (I6)"


def test_of_a_soft_limit_no_call_holds_more_than_any_can_use() -> None:
    """Whatever a body names as its output maximum: sums must fit 64 bits, in the journal's readers as well."""
    house = spend(10, hard=False)
    claim = house.admitted()
    assert house.reserve(claim, 0, 2**90) is None
    assert [held.amount for held in claim.reserved] == [MOST_COST]


@pytest.mark.parametrize(
    ("scope", "scope_id"),
    [("tenant", "ten"), ("project", "prj"), ("key", "key_a"), ("user", "usr"), ("model", "gpt-4o"),
     ("credential", "crd")],
)  # fmt: skip
def test_each_scope_limits(scope: str, scope_id: str) -> None:
    house = House(entry("requests", "minute", 1, scope=scope, scope_id=scope_id))  # type: ignore[arg-type]
    house.admitted(house.claim(user="usr"))
    assert house.refused(house.claim(user="usr")).kind is errors.RATE_LIMITED


@pytest.mark.parametrize(
    "asked", ["gemini-x", "Gemini-X", "models/gemini-x", "google:models/gemini-X", "google:GEMINI-X"]
)
@pytest.mark.parametrize("named", ["gemini-x", "models/Gemini-x"])
def test_a_model_is_limited_however_it_is_written(named: str, asked: str) -> None:
    """Azure's deployments know no capitals, and Google's models have two spellings."""
    house = House(entry("requests", "minute", 1, scope="model", scope_id=named))
    house.admitted(Claim("ten", "prj", "key_a", None, asked, "crd"))
    house.refused(Claim("ten", "prj", "key_a", None, "gemini-x", "crd"))
    house.admitted(Claim("ten", "prj", "key_a", None, "gemini-xl", "crd"))


def test_sixty_a_minute_is_sixty_in_any_minute() -> None:
    house = House(entry("requests", "minute", 60))
    for _ in range(60):
        house.admitted()
        house.clock.pass_(100_000)
    error = house.refused()
    assert (error.kind, error.retry_after) == (errors.RATE_LIMITED, 55), "the first was 6 s ago"
    house.clock.pass_(54 * SECOND)
    house.refused()
    house.clock.pass_(1)
    house.admitted()
    house.refused()


def test_a_refused_call_counts_nowhere() -> None:
    """All limits together or none."""
    narrow = entry("requests", "minute", 1)
    wide = entry("requests", "hour", 3, scope="project", scope_id="prj")
    house = House(wide, narrow)
    house.admitted()
    for _ in range(5):
        house.refused()
    assert house.header("remaining", house.claim("key_b")) == 2


def test_concurrency_is_calls_at_a_time() -> None:
    house = House(entry("concurrency", "now", 2))
    first, second = house.admitted(), house.admitted()
    error = house.refused()
    assert (error.kind, error.retry_after) == (errors.RATE_LIMITED, 1)
    house.settle(first)
    house.settle(first)
    house.limits.withdraw(first, house.clock.now())
    third = house.admitted()
    house.refused()
    house.limits.withdraw(second, house.clock.now())
    house.settle(third)
    assert house.header("remaining-concurrency") == 2


def test_withdrawn_calls_stay_counted_against_request_rates_and_hold_nothing() -> None:
    house = House(
        entry("requests", "minute", 1), entry("tokens", "minute", 10, id="t"), entry("spend", "total", 10, id="s")
    )
    claim = house.reserved(10, 10)
    house.limits.withdraw(claim, house.clock.now())
    house.refused()
    assert (house.header("remaining-tokens"), house.header("remaining-spend")) == (10, 10)
    house.clock.pass_(MINUTE + 1)
    house.reserved(10, 10)


def test_reserved_then_settled_with_the_truth() -> None:
    house = House(entry("spend", "day", 100), entry("tokens", "minute", 1000))
    claim = house.reserved(600, 60)
    assert claim.reserved == (
        Reserved("ten/key/key_a/spend/day", "2026-11-21", 60),
        Reserved("ten/key/key_a/tokens/minute", "", 600),
    )
    assert house.short(0, 41).kind is errors.BUDGET_EXCEEDED
    assert house.short(401, 0).kind is errors.RATE_LIMITED
    house.settle(claim, 100, 10)
    assert [one.amount for one in claim.settled] == [10, 100]
    house.reserved(900, 90)


def test_tokens_and_spend_are_taken_together_or_not_at_all() -> None:
    house = House(entry("spend", "day", 100), entry("tokens", "minute", 1000))
    for _ in range(10):
        house.short(10, 101)
        house.short(1001, 10)
    house.reserved(1000, 100)


def test_the_refusal_says_which_limit_and_how_it_stands() -> None:
    house = spend(10 * DOLLAR)
    house.settle(house.reserved(0, 8 * DOLLAR), 0, 7 * DOLLAR + 500_000_000)
    house.reserved(0, DOLLAR)
    error = house.short(0, 3 * DOLLAR)
    assert error.detail == (
        "limit lim_key_spend_day of key key_a: $7.5 used and $1 reserved of $10 per day; this call may need $3"
    )
    assert error.retry_after == 12 * 3600, "to the end of the UTC day"
    for route in ROUTES:
        body = json.loads(for_endpoint(*route).error_body(error, "id"))
        assert body["limit"] == {
            "id": "lim_key_spend_day", "scope": "key", "scope_id": "key_a", "measure": "spend", "window": "day",
            "cap": 10 * DOLLAR, "spent": 7_500_000_000, "reserved": DOLLAR, "needed": 3 * DOLLAR,
        }  # fmt: skip
        assert (body["code"], body["retry_after"]) == ("BUDGET_EXCEEDED", 43_200)


def test_of_several_limits_the_one_that_is_longest_in_the_way_is_named() -> None:
    house = House(entry("spend", "day", 10), entry("spend", "month", 10), entry("tokens", "minute", 10))
    house.settle(house.reserved(10, 10), 10, 10)
    error = house.short(1, 1)
    assert error.detail.startswith("limit lim_key_spend_month ")
    assert error.retry_after == 9 * 86_400 + 43_200


def test_room_that_running_calls_hold_comes_back_when_they_end() -> None:
    house = spend(10)
    claim = house.reserved(0, 10)
    assert house.short(0, 1).retry_after == 1
    house.settle(claim, 0, 0)
    house.reserved(0, 10)


def test_a_total_that_is_spent_says_no_time() -> None:
    house = House(entry("spend", "total", 10))
    house.settle(house.reserved(0, 10), 0, 10)
    error = house.short(0, 1)
    assert (error.kind, error.retry_after) == (errors.BUDGET_EXCEEDED, None)


def test_what_is_above_the_whole_limit_never_fits() -> None:
    house = House(entry("spend", "day", 10), entry("tokens", "minute", 10))
    error = house.short(0, 11)
    assert (error.kind, error.kind.word, error.retry_after) == (errors.BUDGET_NEVER_FITS, "never_fits", None)
    assert "this call may need" in error.detail and "never fits: ask for less output" in error.detail
    error = house.short(11, 0)
    assert (error.kind, error.kind.word, error.retry_after) == (errors.RATE_NEVER_FITS, "never_fits", None)
    assert (errors.BUDGET_NEVER_FITS.code, errors.RATE_NEVER_FITS.code) == ("BUDGET_EXCEEDED", "RATE_LIMITED")


def test_a_call_that_needs_nothing_is_never_in_the_way() -> None:
    house = spend(10)
    house.settle(house.reserved(0, 10), 0, 10)
    house.configure([entry("spend", "day", 5)])
    house.reserved(0, 0)


# -- what has no bound


def test_without_a_bound_a_hard_spend_cap_refuses() -> None:
    house = spend(10)
    claim = house.admitted()
    error = house.limits.reserve(claim, Bound(10, None, "no price for mystery-1"), house.clock.now())
    assert isinstance(error, GatehouseError)
    assert (error.kind, error.retry_after) == (errors.UNBOUNDED_COST, None)
    assert "no price for mystery-1" in error.detail and "lim_key_spend_day" in error.detail


def test_without_a_bound_the_assumed_amount_is_reserved() -> None:
    house = spend(10, assumed=6)
    claim = house.reserved(0, None)
    assert claim.reserved[0].amount == 6
    house.short(0, None)
    house.settle(claim, None, None)
    assert claim.settled[0].amount == 6
    house.reserved(0, 4)


def test_without_a_bound_a_soft_cap_only_counts() -> None:
    house = spend(10, hard=False)
    house.settle(house.reserved(0, None), 0, 25)
    assert [event.kind for event in house.limits.events()][-1] == "exceeded"


# -- what nobody knows


@pytest.mark.parametrize(("on_unknown", "expected"), [("bound", 60), ("estimate", 20)])
def test_an_estimate_settles_as_the_limit_says(on_unknown: str, expected: int) -> None:
    house = spend(100, on_unknown=on_unknown)
    claim = house.reserved(0, 60)
    house.settle(claim, 20, 20, estimated=True)
    assert claim.settled[0].amount == expected
    assert claim.reserved[0].amount == 60, "both are for the record"


@pytest.mark.parametrize("on_unknown", ["bound", "estimate"])
def test_without_even_an_estimate_it_is_the_bound(on_unknown: str) -> None:
    house = spend(100, on_unknown=on_unknown)
    claim = house.reserved(0, 60)
    house.settle(claim, None, None)
    assert claim.settled[0].amount == 60


def test_of_several_limits_on_a_counter_the_bound_wins() -> None:
    house = House(
        entry("spend", "day", 100, id="a", on_unknown="estimate"), entry("spend", "day", 200, id="b"),
    )  # fmt: skip
    claim = house.reserved(0, 60)
    house.settle(claim, 20, 20, estimated=True)
    assert claim.settled[0].amount == 60


def changed(house: House, claim: Claim, **by: int) -> list[Settled]:
    """What a report changes, by measure."""
    found = [(one, by.get(one.counter.split("/")[-2])) for one in claim.settled]
    return [Settled(one.counter, one.period, 0, amount) for one, amount in found if amount is not None]


def test_a_later_report_corrects() -> None:
    house = House(entry("spend", "day", 100), entry("tokens", "minute", 100))
    claim = house.reserved(60, 60)
    house.settle(claim, None, None)
    house.limits.correct(changed(house, claim, spend=-30, tokens=-40), 0, house.clock.now())
    assert (house.header("remaining-spend"), house.header("remaining-tokens")) == (70, 80)
    house.limits.correct(changed(house, claim, spend=10), 0, house.clock.now())
    assert (house.header("remaining-spend"), house.header("remaining-tokens")) == (60, 80)


def test_a_later_report_of_more_than_the_cap_is_told() -> None:
    house = spend(100)
    claim = house.reserved(0, 60)
    house.settle(claim, None, None)
    house.limits.events()
    house.limits.correct(changed(house, claim, spend=70), 0, house.clock.now())
    assert [(event.kind, event.percent) for event in house.limits.events()][-1] == ("exceeded", 100)


def test_I4_what_a_report_gives_back_does_not_outlast_what_it_was_charged_for() -> None:
    """Nor does it count for anything once that has left the window."""
    house = House(entry("tokens", "minute", 100))
    claim = house.reserved(80, 0)
    house.settle(claim, None, None)
    house.clock.pass_(30 * SECOND)
    house.limits.correct(changed(house, claim, tokens=-50), 30 * SECOND, house.clock.now())
    assert house.header("remaining-tokens") == 70
    house.settle(house.reserved(40, 0), 40, 0)
    house.clock.pass_(31 * SECOND + SECOND)
    assert house.header("remaining-tokens") == 60
    house.limits.correct(changed(house, claim, tokens=-50), 62 * SECOND, house.clock.now())
    assert house.header("remaining-tokens") == 60


def test_a_report_on_counters_and_periods_that_are_no_more_changes_nothing() -> None:
    house = spend(100)
    house.settle(house.reserved(0, 60), None, None)
    gone = [Settled("ten/project/prj/spend/day", "2019-01-01", 0, -60), Settled("ten/key/other/tokens/day", "", 0, -1)]
    house.limits.correct(gone, 0, house.clock.now())
    assert house.header("remaining-spend") == 40


def test_more_than_the_bound_is_counted_and_told() -> None:
    house = spend(100)
    house.settle(house.reserved(0, 100), 0, 130)
    assert [(event.kind, event.percent, event.hard) for event in house.limits.events()][-1] == ("exceeded", 100, True)
    error = house.short(0, 1)
    assert error.facts is not None
    assert error.facts["limit"]["spent"] == 130  # type: ignore[index]


# -- a dearer candidate


def test_a_dearer_candidate_reserves_the_difference() -> None:
    house = House(entry("spend", "day", 100), entry("tokens", "minute", 100))
    claim = house.reserved(30, 30)
    house.clock.pass_(30 * SECOND)
    assert house.reserve(claim, 50, 90) is None
    assert [held.amount for held in claim.reserved] == [90, 50]
    assert house.reserve(claim, 10, 10) is None
    assert [held.amount for held in claim.reserved] == [90, 50], "nothing is given back before the end"
    assert isinstance(house.reserve(claim, 50, 101), GatehouseError)
    assert [held.amount for held in claim.reserved] == [90, 50]
    house.settle(claim, 40, 45)
    assert [one.amount for one in claim.settled] == [45, 40]
    house.clock.pass_(32 * SECOND)
    assert house.header("remaining-tokens") == 90, "10 of the 40 were reserved later"


def test_the_dearer_candidate_counts_in_the_period_of_the_decision() -> None:
    house = House(entry("spend", "day", 100), unix=MIDNIGHT - SECOND)
    claim = house.reserved(0, 60)
    house.clock.pass_(2 * SECOND)
    assert isinstance(house.reserve(claim, 0, 101), GatehouseError)
    assert house.reserve(claim, 0, 100) is None
    assert claim.reserved == (Reserved("ten/key/key_a/spend/day", "2026-11-21", 100),)
    house.reserved(0, 100)


# -- periods


def test_a_call_across_midnight_counts_where_it_was_admitted() -> None:
    house = House(entry("spend", "day", 100), entry("spend", "month", 1000), unix=MIDNIGHT - 1)
    claim = house.reserved(0, 80)
    house.clock.pass_(1)
    other = house.reserved(0, 100)
    house.settle(claim, 0, 70)
    assert {(one.period, one.amount) for one in claim.settled} == {("2026-11-21", 70), ("2026-11", 70)}
    house.settle(other, 0, 0)
    house.reserved(0, 100)
    assert house.header("remaining-spend") == 0


def test_a_clock_set_back_over_midnight_finds_what_was_spent() -> None:
    house = House(entry("spend", "day", 100), unix=MIDNIGHT - 1)
    house.settle(house.reserved(0, 80), 0, 80)
    house.clock.pass_(1)
    house.settle(house.reserved(0, 30), 0, 30)
    house.clock.unix -= HOUR
    house.short(0, 21)
    house.clock.unix += HOUR
    house.short(0, 71)
    house.reserved(0, 70)


def test_a_clock_set_back_frees_no_rate() -> None:
    house = House(entry("requests", "minute", 1))
    house.admitted()
    house.clock.unix -= HOUR
    house.refused()
    house.clock.unix += 2 * HOUR
    house.refused()


# -- limits that change


def test_a_lowered_cap_admits_nothing_more_until_there_is_room() -> None:
    house = spend(100)
    claim = house.reserved(0, 60)
    house.configure([entry("spend", "day", 50)])
    house.short(0, 1)
    house.settle(claim, 0, 20)
    house.short(0, 31)
    house.reserved(0, 30)


def test_deleting_and_making_anew_frees_nothing() -> None:
    """Counters belong to what is limited."""
    house = House(
        entry("spend", "month", 100), entry("requests", "minute", 2), entry("concurrency", "now", 2),
        entry("tokens", "day", 100),
    )  # fmt: skip
    house.reserved(50, 50)
    house.configure([])
    assert house.limits.active, "they go on counting"
    house.settle(house.reserved(20, 20), 20, 20)
    house.configure([entry("spend", "month", 100, id="lim_new")])
    house.short(0, 31)
    house.reserved(0, 30)
    house.configure([entry("requests", "minute", 2, id="lim_new"), entry("tokens", "day", 100)])
    house.refused()
    house.clock.pass_(MINUTE + MINUTE // 60)
    house.short(31, 0)
    house.configure([entry("concurrency", "now", 2, id="lim_new")])
    house.refused()


def test_counters_without_limits_are_let_go_when_they_hold_nothing() -> None:
    house = House(entry("spend", "day", 100), entry("requests", "minute", 2), entry("concurrency", "now", 9))
    claim = house.reserved(0, 50)
    house.configure([])
    house.clock.pass_(3 * DAY)
    house.configure([])
    assert house.limits.active, "a call still runs"
    house.settle(claim, 0, 50)
    house.configure([])
    assert not house.limits.active


def test_a_running_call_settles_on_what_it_reserved_whatever_limits_there_are_now() -> None:
    house = spend(100)
    claim = house.reserved(0, 60)
    house.configure([entry("spend", "day", 1000, scope="project", scope_id="prj", id="lim_project")])
    house.settle(claim, 0, 10)
    assert house.header("remaining-spend") == 1000, "made after the call was admitted"
    house.configure([entry("spend", "day", 100)])
    assert house.header("remaining-spend") == 90


def test_hard_and_soft_limits_on_one_counter_count_a_call_once() -> None:
    house = House(entry("spend", "day", 100, id="hard"), entry("spend", "day", 50, id="soft", hard=False))
    house.settle(house.reserved(0, 60), 0, 60)
    assert house.header("remaining-spend") == 40
    assert [(event.limit, event.kind) for event in house.limits.events() if event.kind == "exceeded"] == [
        ("soft", "exceeded")
    ]


def test_a_cap_that_crosses_the_longest_log_keeps_its_count() -> None:
    house = House(entry("requests", "minute", 3))
    for _ in range(3):
        house.admitted()
    house.configure([entry("requests", "minute", 5000)])
    assert house.header("remaining") == 4997
    for _ in range(10):
        house.admitted()
    house.configure([entry("requests", "minute", 14)])
    house.admitted()
    house.refused()
    house.clock.pass_(MINUTE + SECOND)
    house.admitted()


def test_a_measure_without_such_a_window_changes_nothing() -> None:
    house = spend(100)
    wrong = [entry("spend", "day", 5), entry("spend", "hour", 1, id="lim_wrong")]
    with pytest.raises(ValueError, match="limit lim_wrong: spend has no window 'hour'"):
        house.configure(wrong)
    house.reserved(0, 100)


def test_models_that_callers_make_up_take_no_memory() -> None:
    house = House(entry("requests", "day", 100_000))
    for number in range(100):
        claim = Claim("ten", "prj", "key_a", f"user-{number}", f"model-{number}")
        assert house.limits.admit(claim, house.clock.now()) is None
    [tenant] = house.limits._ledger.tenants.values()
    assert len(tenant.plans) == 1


# -- shares


def test_no_key_holds_more_than_a_quarter_of_what_it_shares() -> None:
    house = House(entry("spend", "day", 100, scope="project", scope_id="prj"))
    for _ in range(5):
        house.reserved(0, 5)
    error = house.short(0, 5)
    assert (error.kind, error.retry_after) == (errors.BUDGET_EXCEEDED, 1)
    assert "one key may hold $0.000000025 of $0.0000001 per day (25 %, max_reserved_share)" in error.detail
    other = house.reserved(0, 25, key="key_b")
    house.settle(other, 0, 25)
    house.reserved(0, 25, key="key_b")
    assert house.short(0, 26, key="key_c").kind is errors.BUDGET_NEVER_FITS


def test_what_a_key_has_spent_is_not_its_share() -> None:
    house = House(entry("tokens", "minute", 100, scope="tenant", scope_id="ten"))
    for _ in range(4):
        house.settle(house.reserved(25, 0), 25, 0)
    assert house.short(1, 0).kind is errors.RATE_LIMITED


def test_own_limits_and_a_share_of_a_hundred_are_all_ones_own() -> None:
    house = House(entry("spend", "day", 100))
    house.reserved(0, 100)
    house = House(entry("spend", "day", 100, scope="model", scope_id="gpt-4o", max_reserved_share=100))
    house.reserved(0, 100)


def test_who_calls_without_a_key_has_no_share() -> None:
    house = House(entry("spend", "day", 1000, scope="tenant", scope_id="ten", at_cap="clamp"))
    claim = house.admitted(house.claim(None))
    assert house.reserve(claim, 0, 900) is None
    asked = Bound(600, 600, None, 600, output_tokens=600, output_cost=600)
    other = house.admitted(house.claim(None))
    assert isinstance(house.limits.reserve(other, asked, house.clock.now()), GatehouseError), "100 are left"
    house.settle(claim, 0, 700)
    assert house.limits.reserve(other, asked, house.clock.now()) == Clamp(300)
    house.settle(other, 0, 0)
    user = house.admitted(house.claim(None, user="usr"))
    assert isinstance(house.reserve(user, 0, 251), GatehouseError), "an identity's user has a share as a key has"


def test_an_unknown_claim_is_let_be() -> None:
    limits = LocalLimits()
    claim = Claim("ten", "prj")
    now = Moment(0, 0)
    limits.settle(claim, 1, 1, now)
    limits.withdraw(claim, now)
    assert limits.reserve(claim, Bound(1, 1), now) is None
