"""Thresholds (50, 80, 100 %), soft limits, and use above a cap: told once a period."""

from __future__ import annotations

from gatehouse.model.limits import LimitEvent
from tests.limits.limited import HOUR, MINUTE, NOON, House, entry

MIDNIGHT = NOON + 12 * HOUR


def told(house: House) -> list[tuple[str, int]]:
    return [(event.kind, event.percent) for event in house.limits.events()]


def spent(house: House, amount: int) -> list[tuple[str, int]]:
    house.settle(house.reserved(0, amount), 0, amount)
    return told(house)


def test_thresholds_of_spend_are_told_once_a_period() -> None:
    house = House(entry("spend", "day", 100), unix=MIDNIGHT - HOUR)
    assert spent(house, 49) == []
    assert spent(house, 1) == [("threshold", 50)]
    assert spent(house, 29) == []
    assert spent(house, 21) == [("threshold", 80), ("threshold", 100)]
    assert spent(house, 0) == []
    house.clock.pass_(HOUR)
    assert spent(house, 50) == [("threshold", 50)]


def test_an_event_says_all_there_is_to_say() -> None:
    house = House(entry("spend", "month", 100))
    house.settle(house.reserved(0, 60), 0, 55)
    assert house.limits.events() == [
        LimitEvent(
            kind="threshold", limit="lim_key_spend_month", tenant="ten", counter="ten/key/key_a/spend/month",
            period="2026-11", percent=50, used=55, cap=100, hard=True, at=NOON,
        )
    ]  # fmt: skip


def test_what_is_only_reserved_is_not_spent() -> None:
    house = House(entry("spend", "day", 100))
    claim = house.reserved(0, 100)
    assert told(house) == []
    house.settle(claim, 0, 10)
    assert told(house) == []


def test_a_soft_limit_refuses_nothing_and_tells() -> None:
    house = House(entry("spend", "day", 100, hard=False), entry("requests", "minute", 2, hard=False, id="rate"))
    assert spent(house, 100) == [("threshold", 50), ("threshold", 50), ("threshold", 80), ("threshold", 100)]
    assert spent(house, 50) == [("threshold", 100), ("exceeded", 100)]
    assert spent(house, 50) == [("exceeded", 100)]
    assert spent(house, 50) == []


def test_a_hard_limit_that_refuses_is_as_good_as_used_up() -> None:
    house = House(entry("spend", "day", 100))
    assert spent(house, 95) == [("threshold", 50), ("threshold", 80)]
    house.short(0, 10)
    house.short(0, 10)
    assert told(house) == [("threshold", 100)]
    house.short(0, 101)
    assert told(house) == [], "what never fits says nothing about use"


def test_rates_are_told_once_an_hour() -> None:
    house = House(entry("requests", "minute", 2), entry("concurrency", "now", 1, scope="project", scope_id="prj"))
    house.settle(house.admitted())
    assert sorted(told(house)) == [("threshold", 50), ("threshold", 100)], "of one request, and of one call at a time"
    house.settle(house.admitted())
    assert told(house) == [("threshold", 100)]
    house.clock.pass_(MINUTE + 1)
    house.settle(house.admitted())
    house.settle(house.admitted())
    assert told(house) == []
    house.clock.pass_(HOUR)
    house.settle(house.admitted())
    assert sorted(told(house)) == [("threshold", 50), ("threshold", 100)]


def test_tokens_are_told_when_a_call_ends() -> None:
    house = House(entry("tokens", "minute", 100))
    claim = house.reserved(90, 0)
    assert told(house) == []
    house.settle(claim, 85, 0)
    assert told(house) == [("threshold", 50), ("threshold", 80)]


def test_a_limit_that_changes_is_told_of_anew_and_others_are_not() -> None:
    house = House(entry("spend", "day", 100, id="a"), entry("spend", "day", 1000, id="b"))
    assert spent(house, 90) == [("threshold", 50), ("threshold", 80)]
    house.configure([entry("spend", "day", 150, id="a"), entry("spend", "day", 1000, id="b")])
    house.settle(house.reserved(0, 1), 0, 1)
    assert [(event.limit, event.percent) for event in house.limits.events()] == [("a", 50)]


def test_events_nobody_takes_are_bounded() -> None:
    house = House(*[entry("requests", "minute", 1, scope_id=f"key_{number}") for number in range(11_000)])
    house.configure([entry("requests", "minute", 1, scope_id=f"key_{n}", id=f"lim_{n}") for n in range(11_000)])
    for number in range(11_000):
        house.admitted(house.claim(f"key_{number}"))
    assert len(house.limits.events()) == 10_000
    assert house.limits.events() == []
