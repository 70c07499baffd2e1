"""limits/sliding.py: I4's second half. Whatever the times, no interval of length W holds more than N, ends included."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.limits.sliding import LONGEST_LOG, Granules, Log, Window

W = 60_000_000
WIDTH = W // 60

gaps = st.one_of(
    st.integers(0, 3),
    st.integers(0, WIDTH + 1),
    st.integers(0, W + WIDTH + 1),
    st.sampled_from([WIDTH, W - 1, W, W + 1, W + WIDTH, 3 * W]),
)
begins = st.one_of(st.integers(-2 * W, 2 * W), st.integers(0, 1 << 55))


def most_within(admitted: list[tuple[int, int]], length: int) -> int:
    """The largest sum in any interval of that length, both ends included."""
    most = total = first = 0
    for time, amount in admitted:
        total += amount
        while admitted[first][0] < time - length:
            total -= admitted[first][1]
            first += 1
        most = max(most, total)
    return most


def counted(admitted: list[tuple[int, int]], since: int) -> int:
    return sum(amount for time, amount in admitted if time >= since)


@given(begin=begins, steps=st.lists(st.tuples(gaps, st.integers(1, 9)), max_size=200), most=st.integers(1, 40))
@settings(max_examples=300)
def test_granules_never_admit_more_than_n_in_any_interval_i4(
    begin: int, steps: list[tuple[int, int]], most: int
) -> None:
    window = Granules(W)
    admitted: list[tuple[int, int]] = []
    now = begin
    for gap, amount in steps:
        now += gap
        if window.used(now) + amount <= most:
            window.add(amount, now)
            admitted.append((now, amount))
        else:
            assert counted(admitted, now - W - WIDTH) + amount > most, "refused only for what is hardly out of W"
    assert most_within(admitted, W) <= most


@given(begin=begins, steps=st.lists(gaps, max_size=200), most=st.integers(1, 40))
@settings(max_examples=300)
def test_a_log_admits_exactly_n_in_any_interval_i4(begin: int, steps: list[int], most: int) -> None:
    window = Log(W)
    admitted: list[tuple[int, int]] = []
    now = begin
    for gap in steps:
        now += gap
        used = window.used(now)
        assert used == counted(admitted, now - W)
        if used < most:
            window.add(1, now)
            admitted.append((now, 1))
    assert most_within(admitted, W) <= most


@given(begin=begins, steps=st.lists(st.tuples(gaps, st.integers(1, 9), st.integers(0, 9)), max_size=100))
@settings(max_examples=200)
def test_what_is_corrected_counts_as_corrected_while_it_counts(begin: int, steps: list[tuple[int, int, int]]) -> None:
    window = Granules(W)
    truth: list[tuple[int, int]] = []
    now = begin
    for gap, amount, actual in steps:
        now += gap
        window.used(now)
        place = window.add(amount, now)
        window.adjust(place, actual - amount)
        truth.append((now, actual))
        assert counted(truth, now - W) <= window.used(now) <= counted(truth, now - W - WIDTH)
    assert window.used(now + W + WIDTH + 1) == 0


@pytest.mark.parametrize("kind", [Log, Granules])
@given(begin=begins, steps=st.lists(gaps, min_size=1, max_size=60), needed=st.integers(1, 60))
@settings(max_examples=100)
def test_it_says_when_enough_will_have_left(kind: type[Window], begin: int, steps: list[int], needed: int) -> None:
    window = kind(W)
    now = begin
    for gap in steps:
        now += gap
        window.used(now)
        window.add(1, now)
    used = window.used(now)
    needed = min(needed, used)
    wait = window.frees(needed, now)
    assert 0 < wait <= W + WIDTH
    assert window.used(now + wait - 1) > used - needed, "not before"
    assert window.used(now + wait) <= used - needed


@given(begin=begins, steps=st.lists(gaps, min_size=1, max_size=60))
@settings(max_examples=100)
def test_what_moves_to_another_kind_is_counted_no_shorter(begin: int, steps: list[int]) -> None:
    for source, target in ((Log(W), Granules(W)), (Granules(W), Log(W))):
        now = begin
        window: Window = source
        for gap in steps:
            now += gap
            window.used(now)
            window.add(1, now)
        window.used(now)
        moved: Window = target
        moved.used(now)
        times = [time for time, _ in window.counted()]
        assert all(earlier <= later for earlier, later in pairwise(times))
        for time, amount in window.counted():
            moved.add(amount, min(time, now))
        for later in (now, now + WIDTH, now + W // 2, now + W):
            assert moved.used(later) >= window.used(later) or isinstance(source, Granules)
        assert moved.used(now + W + WIDTH + 1) == 0


def test_a_clock_that_stands_or_goes_back_frees_nothing() -> None:
    window = Granules(W)
    window.used(10 * W)
    window.add(5, 10 * W)
    assert window.used(9 * W) == 5
    window.add(2, 9 * W)
    assert window.used(10 * W) == 7


def test_a_log_is_bounded() -> None:
    window = Log(W)
    window.used(0)
    window.add(1_000_000, 0)
    assert window.used(0) == LONGEST_LOG


def test_the_worst_moment_of_fixed_windows_is_no_worse_here() -> None:
    """N = 60 per 60 s; fixed windows let 120 through around the minute, two buckets 89, GCRA 119."""
    for window in (Log(W), Granules(W)):
        admitted = []
        for time in [*range(59_900_000, 60_000_000, 1000), *range(60_000_000, 60_100_000, 1000)]:
            if window.used(time) < 60:
                window.add(1, time)
                admitted.append((time, 1))
        assert most_within(admitted, W) == 60
