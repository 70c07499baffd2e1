"""`at_cap: clamp`: the output maximum that a budget still affords, never below 256, and reserved as such."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.model.limits import Bound, Clamp
from tests.limits.limited import House, entry


def bound(prompt: int, max_output: int, rate: int, choices: int = 1) -> Bound:
    output = max_output * choices
    return Bound(
        prompt + output, (prompt + output) * rate, None, max_output, output_tokens=output, output_cost=output * rate
    )


def test_the_output_maximum_is_lowered_to_what_is_left() -> None:
    house = House(entry("spend", "day", 10_000, at_cap="clamp"))
    claim = house.admitted()
    assert house.limits.reserve(claim, bound(100, 2000, 10), house.clock.now()) == Clamp(900)
    assert claim.reserved[0].amount == 10_000
    house.settle(claim, 0, 4000)
    claim = house.admitted()
    assert house.limits.reserve(claim, bound(100, 500, 10), house.clock.now()) is None, "that fits as it is"


def test_below_the_floor_it_is_refused() -> None:
    house = House(entry("spend", "day", 3560, at_cap="clamp"))
    claim = house.admitted()
    assert house.limits.reserve(claim, bound(100, 2000, 10), house.clock.now()) == Clamp(256)
    house.settle(claim, 0, 1)
    error = house.limits.reserve(house.admitted(), bound(100, 2000, 10), house.clock.now())
    assert isinstance(error, GatehouseError) and error.kind is errors.BUDGET_EXCEEDED
    assert error.facts is not None and error.facts["limit"]["needed"] == 3560  # type: ignore[index]
    house.configure([entry("spend", "day", 3559, at_cap="clamp")])
    error = house.limits.reserve(house.admitted(), bound(100, 2000, 10), house.clock.now())
    assert isinstance(error, GatehouseError) and error.kind is errors.BUDGET_NEVER_FITS


def test_a_maximum_below_the_floor_is_not_lowered() -> None:
    house = House(entry("spend", "day", 2000, at_cap="clamp"))
    error = house.limits.reserve(house.admitted(), bound(0, 250, 10), house.clock.now())
    assert isinstance(error, GatehouseError)


def test_what_one_limit_lowers_is_lowered_for_all() -> None:
    house = House(
        entry("spend", "day", 10_000, at_cap="clamp"), entry("tokens", "minute", 600, at_cap="clamp"),
        entry("spend", "month", 7_500),
    )  # fmt: skip
    claim = house.admitted()
    assert house.limits.reserve(claim, bound(100, 2000, 10), house.clock.now()) == Clamp(500)
    assert {held.amount for held in claim.reserved} == {6000, 600}, "and so it fits the one that rejects, too"


def test_a_limit_that_rejects_is_not_softened() -> None:
    house = House(entry("spend", "day", 10_000, at_cap="clamp"), entry("spend", "month", 7_500))
    error = house.limits.reserve(house.admitted(), bound(100, 2000, 10), house.clock.now())
    assert isinstance(error, GatehouseError) and error.detail.startswith("limit lim_key_spend_month")
    claim = house.admitted()
    assert house.limits.reserve(claim, bound(100, 100, 10), house.clock.now()) is None, "nothing was held before"


def test_a_share_clamps_too() -> None:
    house = House(entry("spend", "day", 40_000, scope="project", scope_id="prj", at_cap="clamp"))
    assert house.limits.reserve(house.admitted(), bound(100, 2000, 10), house.clock.now()) == Clamp(900)


def test_what_does_not_grow_with_the_output_cannot_be_lowered() -> None:
    house = House(entry("spend", "day", 1000, at_cap="clamp", assumed=1001))
    for unfit in (Bound(0, 2000), Bound(0, None), bound(300, 0, 10)):
        assert isinstance(house.limits.reserve(house.admitted(), unfit, house.clock.now()), GatehouseError)


@given(
    prompt=st.integers(0, 10_000), output=st.integers(1, 200_000), choices=st.integers(1, 4), rate=st.integers(1, 9999),
    cap=st.integers(1, 10**9), spent=st.integers(0, 10**9),
)  # fmt: skip
def test_the_clamp_is_the_most_that_fits_i4(
    prompt: int, output: int, choices: int, rate: int, cap: int, spent: int
) -> None:
    house = House(entry("spend", "day", cap, at_cap="clamp"))
    room = cap
    if spent < cap:
        house.settle(house.reserved(0, spent), 0, spent)
        room -= spent
    claim = house.admitted()
    asked = bound(prompt, output, rate, choices)
    answer = house.limits.reserve(claim, asked, house.clock.now())
    assert asked.cost is not None

    def cost(maximum: int) -> int:
        return (prompt + maximum * choices) * rate

    if answer is None:
        assert asked.cost <= room and claim.reserved[0].amount == asked.cost
    elif isinstance(answer, Clamp):
        assert 256 <= answer.max_output < output
        assert cost(answer.max_output) <= claim.reserved[0].amount <= room < cost(answer.max_output + 1)
    else:
        assert cost(min(256, output)) > room
