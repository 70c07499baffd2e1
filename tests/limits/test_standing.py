"""`x-gatehouse-ratelimit-*`: what an answer tells its caller of its limits."""

from __future__ import annotations

from tests.limits.limited import HOUR, NOON, SECOND, House, entry


def lines(house: House) -> list[str]:
    text = house.limits.lines(house.claim(), house.clock.now()).decode()
    assert text.endswith("\r\n") or not text
    return text.split("\r\n")[:-1]


def test_each_measure_has_its_lines() -> None:
    house = House(
        entry("requests", "minute", 60), entry("tokens", "minute", 1000), entry("spend", "day", 500),
        entry("concurrency", "now", 5), entry("spend", "total", 499),
    )  # fmt: skip
    house.reserved(100, 50)
    house.clock.pass_(10 * SECOND + 1)
    assert lines(house) == [
        "x-gatehouse-ratelimit-limit: 60",
        "x-gatehouse-ratelimit-remaining: 59",
        "x-gatehouse-ratelimit-reset: 50",
        "x-gatehouse-ratelimit-limit-concurrency: 5",
        "x-gatehouse-ratelimit-remaining-concurrency: 4",
        "x-gatehouse-ratelimit-limit-tokens: 1000",
        "x-gatehouse-ratelimit-remaining-tokens: 900",
        "x-gatehouse-ratelimit-reset-tokens: 1",
        "x-gatehouse-ratelimit-limit-spend: 499",
        "x-gatehouse-ratelimit-remaining-spend: 449",
    ]


def test_of_several_the_tightest() -> None:
    house = House(
        entry("requests", "minute", 60), entry("requests", "hour", 100),
        entry("requests", "day", 3, scope="project", scope_id="prj", hard=False),
    )  # fmt: skip
    assert house.header("remaining") == 60
    for _ in range(50):
        house.admitted()
    house.clock.pass_(HOUR // 2)
    assert (house.header("limit"), house.header("remaining"), house.header("reset")) == (100, 50, 1801)


def test_spend_resets_with_its_period() -> None:
    house = House(entry("spend", "day", 500), unix=NOON)
    assert house.header("reset-spend") == 12 * 3600


def test_a_refused_call_is_told_too() -> None:
    house = House(entry("requests", "minute", 1))
    house.admitted()
    house.refused()
    assert house.header("remaining") == 0


def test_soft_limits_and_others_limits_are_not_told() -> None:
    house = House(entry("requests", "minute", 1, hard=False), entry("spend", "day", 1, scope_id="key_b"))
    house.admitted()
    assert lines(house) == []


def test_never_below_nothing() -> None:
    house = House(entry("spend", "day", 500))
    house.settle(house.reserved(0, 500), 0, 500)
    house.configure([entry("spend", "day", 100)])
    assert house.header("remaining-spend") == 0
