"""Limits as people write them: exact both ways; what is no whole amount is refused, never rounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.cli import caps
from gatehouse.model.limits import LARGEST_CAP, WINDOWS, Measure


@pytest.mark.parametrize(
    ("measure", "text", "window", "amount"),
    [
        ("requests", "60/minute", "minute", 60),
        ("requests", "1.5k/hour", "hour", 1_500),
        ("requests", "0/day", "day", 0),
        ("tokens", "200k/minute", "minute", 200_000),
        ("tokens", "2M/day", "day", 2_000_000),
        ("concurrency", "4", "now", 4),
        ("spend", "50usd/month", "month", 50 * 10**9),
        ("spend", "0.25usd/day", "day", 250_000_000),
        ("spend", "0.000000001USD/total", "total", 1),
        ("spend", "1.10usd/total", "total", 1_100_000_000),
        ("spend", "2kusd/month", "month", 2_000 * 10**9),
    ],
)
def test_read(measure: Measure, text: str, window: str, amount: int) -> None:
    assert caps.read(measure, text) == (measure, window, amount)


@pytest.mark.parametrize(
    ("measure", "text", "says"),
    [
        ("requests", "60", "per minute, hour, day, such as 60/minute"),
        ("requests", "60/month", "per minute, hour, day"),
        ("requests", "60 /minute", "is no amount"),
        ("requests", "-1/minute", "is no amount"),
        ("requests", "1.5/minute", "no whole number: one is the least"),
        ("requests", "1e3/minute", "is no amount"),
        ("requests", "٦٠/minute", "is no amount"),
        ("tokens", "1k/hour", "per minute, day"),
        ("tokens", "1K/day", "is no amount"),
        ("concurrency", "4/minute", "a plain number"),
        ("concurrency", "", "is no amount"),
        ("spend", "50/month", "in US dollars"),
        ("spend", "$50/month", "in US dollars"),
        ("spend", "50eur/month", "in US dollars"),
        ("spend", "50usd", "per day, month, total"),
        ("spend", "0.0000000001usd/day", "a nano-dollar is the least"),
        ("spend", "1000000001usd/day", "more than can be counted"),
        ("spend", "usd/day", "is no amount"),
    ],
)
def test_refused(measure: Measure, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        caps.read(measure, text)


@given(measure=st.sampled_from(list(WINDOWS)), data=st.data(), amount=st.integers(0, LARGEST_CAP))
def test_what_is_written_is_read_as_the_same(measure: Measure, data: st.DataObject, amount: int) -> None:
    window = data.draw(st.sampled_from(WINDOWS[measure]))
    assert caps.read(measure, caps.written(measure, window, amount)) == (measure, window, amount)
