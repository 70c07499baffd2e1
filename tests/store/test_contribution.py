"""O15: what values contribute to a change adds up to it, whatever the calls are."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from gatehouse.store.contribution import Effects, MeanEffects, Part, Value, amounts, means, whole

NOW_AND_THEN = dict[Value | None, Part]
_counts = st.integers(0, 50)
_parts = st.builds(
    lambda calls, amount, tokens, unpriced: Part(calls + unpriced, calls, amount if calls else 0, tokens),
    _counts,
    st.integers(0, 10**15),
    st.one_of(st.none(), st.integers(0, 10**12)),
    _counts,
)
_windows = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "", None]), _parts)


def _part(calls: int, amount: int, tokens: int = 0) -> Part:
    return Part(calls, calls, amount, tokens)


@given(_windows, _windows)
@example({"a": _part(3, 10)}, {"a": _part(7, 11)})
def test_contributions_to_an_amount_add_up(before: NOW_AND_THEN, after: NOW_AND_THEN) -> None:
    found = amounts(before, after)
    change = sum(part.amount for part in after.values()) - sum(part.amount for part in before.values())
    assert sum(effects.change for effects in found.values()) == change
    for value, effects in found.items():
        was, now = before.get(value, Part()), after.get(value, Part())
        assert effects.change == now.amount - was.amount
        if effects.tokens is not None and effects.price is not None:
            assert effects.tokens + effects.price == effects.per_call
        if not was.calls or not now.calls:
            assert (effects.per_call, effects.tokens, effects.price) == (0, 0, 0)


@given(_windows, _windows)
def test_contributions_to_a_mean_add_up(before: NOW_AND_THEN, after: NOW_AND_THEN) -> None:
    found = means(before, after)
    calls = [sum(part.calls for part in window.values()) for window in (before, after)]
    if found is None:
        assert 0 in calls
        return
    was, now = (
        Fraction(sum(part.amount for part in window.values()), count)
        for window, count in zip((before, after), calls, strict=True)
    )
    assert sum((each for effects in found.values() for each in effects), Fraction(0)) == now - was


@given(st.lists(st.fractions(-1000, 1000), min_size=1), st.integers(0, 1))
def test_fractions_become_whole_together(parts: list[Fraction], up: int) -> None:
    exact = sum(parts, Fraction(0))
    total = exact.__floor__() + (up if exact.denominator > 1 else 0)
    found = whole(parts, total)
    assert sum(found) == total
    for part, each in zip(parts, found, strict=True):
        assert abs(each - part) < 1
        assert part.denominator > 1 or each == part  # what is whole stays so


def _effects(mix: int, per_call: int) -> MeanEffects:
    return MeanEffects(Fraction(mix), Fraction(per_call))


def test_what_is_nobodys_fault() -> None:
    """Twice the calls, all else equal, is volume and nothing else; without calls before, all is."""
    before: NOW_AND_THEN = {"a": _part(10, 1_000, 500), "b": _part(30, 90, 60)}
    after: NOW_AND_THEN = {"a": _part(20, 2_000, 1_000), "b": _part(60, 180, 120)}
    assert amounts(before, after) == {"a": Effects(1_000, 0, 0, 0, 0), "b": Effects(90, 0, 0, 0, 0)}
    assert amounts({}, after) == {"a": Effects(2_000, 0, 0, 0, 0), "b": Effects(180, 0, 0, 0, 0)}
    assert amounts(before, {}) == {"a": Effects(-1_000, 0, 0, 0, 0), "b": Effects(-90, 0, 0, 0, 0)}


def test_each_effect_by_itself() -> None:
    calls: NOW_AND_THEN = {"cheap": _part(90, 90, 90), "dear": _part(10, 1_000, 100)}
    mix: NOW_AND_THEN = {"cheap": _part(80, 80, 80), "dear": _part(20, 2_000, 200)}
    assert amounts(calls, mix) == {"cheap": Effects(0, -10, 0, 0, 0), "dear": Effects(0, 1_000, 0, 0, 0)}
    longer: NOW_AND_THEN = {"cheap": _part(90, 90, 90), "dear": _part(10, 3_000, 300)}
    assert amounts(calls, longer)["dear"] == Effects(0, 0, 2_000, 2_000, 0)
    raised: NOW_AND_THEN = {"cheap": _part(90, 90, 90), "dear": _part(10, 3_000, 100)}
    assert amounts(calls, raised)["dear"] == Effects(0, 0, 2_000, 0, 2_000)
    new: NOW_AND_THEN = {**calls, "new": _part(1, 500, 5)}
    assert amounts(calls, new)["new"] == Effects(0, 500, 0, 0, 0)
    assert sum(effects.change for effects in amounts(calls, new).values()) == 500


def test_a_mean_moves_by_who_is_slower_and_by_who_becomes_so() -> None:
    """Fewer calls of the fast one make all slower, although none of them is."""
    before: NOW_AND_THEN = {"fast": _part(50, 50 * 100), "slow": _part(50, 50 * 300)}
    shifted = means(before, {"fast": _part(25, 25 * 100), "slow": _part(75, 75 * 300)})
    assert shifted == {"fast": _effects(25, 0), "slow": _effects(25, 0)}
    slower = means(before, {"fast": _part(50, 50 * 100), "slow": _part(50, 50 * 500)})
    assert slower == {"fast": _effects(0, 0), "slow": _effects(0, 100)}
    joined = means(before, {**before, "new": _part(100, 100 * 200)})
    assert joined == {"fast": _effects(25, 0), "slow": _effects(-25, 0), "new": _effects(0, 0)}
    assert means({}, before) is None
