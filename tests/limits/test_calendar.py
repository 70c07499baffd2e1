"""limits/calendar.py: days and months in UTC, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gatehouse.limits.calendar import Calendar
from tests.limits.limited import DAY, NOON, SECOND

moments = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))


def unix(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@given(st.lists(moments, min_size=1, max_size=5))
def test_it_agrees_with_the_calendar_in_any_order(several: list[datetime]) -> None:
    calendar = Calendar()
    for moment in several:
        calendar.turn(unix(moment))
        assert calendar.day == moment.strftime("%Y-%m-%d") == calendar.period("day")
        assert calendar.month == moment.strftime("%Y-%m") == calendar.period("month")
        assert unix(moment) < calendar.day_ends <= unix(moment) + DAY
        assert unix(moment) < calendar.month_ends <= unix(moment) + 31 * DAY
        assert (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=calendar.month_ends)).day == 1


def test_a_month_ends_with_its_last_microsecond() -> None:
    calendar = Calendar()
    end = unix(datetime(2028, 3, 1, tzinfo=UTC))
    calendar.turn(end - 1)
    assert (calendar.day, calendar.month) == ("2028-02-29", "2028-02")
    assert (calendar.ends("day"), calendar.ends("month"), calendar.ends("total")) == (end, end, None)
    calendar.turn(end)
    assert (calendar.day, calendar.month) == ("2028-03-01", "2028-03")
    calendar.turn(end - 1)
    assert calendar.month == "2028-02", "a clock that is set back"


def test_total_has_no_name() -> None:
    calendar = Calendar()
    calendar.turn(NOON)
    assert calendar.period("total") == ""
    assert NOON % SECOND == 0
