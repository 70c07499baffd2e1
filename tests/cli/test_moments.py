"""Times as people write them on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from gatehouse.cli.moments import DaysType, MomentType, at


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("4w", timedelta(weeks=4)),
        ("all", None),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T08:30:00Z", datetime(2026, 11, 20, 8, 30, tzinfo=UTC)),
        ("2026-11-20T08:30:00+02:00", datetime(2026, 11, 20, 6, 30, tzinfo=UTC)),
    ],
)
def test_forms(text: str, value: object) -> None:
    assert MomentType().convert(text, None, None) == value


@pytest.mark.parametrize(
    "text", ["", "0h", "7", "yesterday", "7 days", "-1d", "99999999h", "2026-13-01", "0001-01-01T00:00+23:00"]
)
def test_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is neither a span"):
        MomentType().convert(text, None, None)


@pytest.mark.parametrize(("text", "days"), [("0", 0), ("30", 30), ("30d", 30), ("4w", 28), ("48h", 2)])
def test_days(text: str, days: int) -> None:
    assert DaysType().convert(text, None, None) == days


@pytest.mark.parametrize("text", ["", "5h", "-1", "1.5", "9999999", "\N{ARABIC-INDIC DIGIT THREE}"])
def test_what_is_no_number_of_days(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no number of days"):
        DaysType().convert(text, None, None)


def test_at() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    assert [at(each, now) for each in (None, timedelta(days=1), now)] == [None, datetime(2026, 11, 19, tzinfo=UTC), now]


def test_nothing_is_before_1970() -> None:
    """Longer ago than a date can be is no reason to fail."""
    for early in (timedelta(weeks=999_999), datetime(1, 1, 1, tzinfo=UTC)):
        assert at(early, datetime(2026, 11, 20, tzinfo=UTC)) == datetime(1970, 1, 1, tzinfo=UTC)
