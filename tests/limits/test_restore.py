"""What a worker takes over at its start: nothing is free because somebody died."""

from __future__ import annotations

import pytest

from gatehouse.limits.claim import Claim
from gatehouse.model.limits import LimitEntry
from tests.limits.limited import HOUR, MINUTE, NOON, SECOND, House, entry

SPEND = "ten/key/key_a/spend/day"
TOKENS = "ten/key/key_a/tokens/minute"
REQUESTS = "ten/key/key_a/requests/minute"
TODAY = "2026-11-21"


def restored(
    *entries: LimitEntry,
    settled: dict[tuple[str, str], int] | None = None,
    recent: dict[str, list[tuple[int, int]]] | None = None,
) -> House:
    house = House(*entries)
    house.limits.restore(settled or {}, recent or {}, house.clock.now())
    return house


def test_settled_spend_counts_in_its_period() -> None:
    house = restored(
        entry("spend", "day", 100), settled={(SPEND, TODAY): 90, (SPEND, "2026-11-20"): 100}
    )  # fmt: skip
    house.short(0, 11)
    house.reserved(0, 10)


def test_thresholds_it_had_passed_are_not_told_again() -> None:
    house = restored(entry("spend", "day", 100), settled={(SPEND, TODAY): 60})
    house.settle(house.reserved(0, 20), 0, 20)
    assert [event.percent for event in house.limits.events()] == [80]


def test_recent_requests_and_tokens_are_within_their_window() -> None:
    house = restored(
        entry("requests", "minute", 3),
        entry("tokens", "minute", 100),
        recent={
            REQUESTS: [(NOON - 30 * SECOND, 1), (NOON - 50 * SECOND, 1), (NOON - MINUTE - 1, 1), (NOON - HOUR, 7)],
            TOKENS: [(NOON - 30 * SECOND, 90), (NOON - HOUR, 1000)],
        },
    )
    assert (house.header("remaining"), house.header("remaining-tokens")) == (1, 10)
    house.clock.pass_(10 * SECOND + 1)
    assert house.header("remaining") == 2


def test_a_clock_that_was_set_back_in_between_frees_nothing() -> None:
    house = restored(entry("requests", "minute", 1), recent={REQUESTS: [(NOON + HOUR, 1)]})
    house.refused()
    house.clock.pass_(MINUTE + 1)
    house.admitted()


def test_what_has_no_limit_yet_is_kept_for_one_to_come() -> None:
    house = restored(settled={(SPEND, TODAY): 90, ("ten/model/meta/llama-4/spend/day", TODAY): 5})
    house.configure([entry("spend", "day", 100), entry("spend", "day", 9, scope="model", scope_id="meta/llama-4")])
    house.short(0, 11)
    other = Claim("ten", "prj", "key_b", None, "meta/llama-4")
    house.admitted(other)
    assert house.header("remaining-spend", other) == 4


@pytest.mark.parametrize("name", ["spend", "ten/key/key_a/spend", "ten/key/key_a/spend/hour", "ten/app/a/spend/day"])
def test_what_is_no_counter_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"no counter has the name '{name}'"):
        restored(settled={(name, TODAY): 1})
