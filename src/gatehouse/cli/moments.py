"""Times on the command line: spans before now, dates, RFC 3339. Without a zone: UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import click

from gatehouse.store import times

Moment = datetime | timedelta | None
"""A time, a span before now, or no bound."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400 * times.SECOND


class MomentType(click.ParamType["datetime | timedelta | None"]):
    """`24h`, `7d`, `2026-11-20`, an RFC 3339 time, or `all`."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        text = str(value)
        if text == "all":
            return None
        span = _span(text)
        if span is not None:
            return span
        try:
            return utc(text)
        except ValueError:
            self.fail(f"{text!r} is neither a span (30m, 24h, 7d, 4w), a date (2026-11-20), nor `all`.", param, ctx)


def at(moment: Moment, now: datetime) -> datetime | None:
    """The time that is meant, 1970 at the earliest; `None`: no bound."""
    if isinstance(moment, timedelta):
        return now - min(moment, now - _EPOCH)
    return None if moment is None else max(moment, _EPOCH)


class SpanType(click.ParamType["int"]):
    """A span of time, `24h`, `7d`, or `0`: whole seconds."""

    name = "span"

    def __init__(self, *, token: bool = False) -> None:
        """`token`: of a platform token's life, from a minute to a day."""
        self._token = token

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        span = _span(text) if text != "0" else timedelta()
        if span is None:
            self.fail(f"{text!r} is no span (30m, 24h, 7d, 4w), and not 0.", param, ctx)
        seconds = int(span.total_seconds())
        if self._token and not 60 <= seconds <= 86_400:
            self.fail(f"{text}: a token lives for 1m to 24h.", param, ctx)
        return seconds


class DaysType(click.ParamType["int"]):
    """Days, `30` or `30d`: a whole number of them."""

    name = "days"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        if text == "0":
            return 0
        span = times.span(f"{text}d" if text.isdecimal() else text)
        if span is None or span % _DAY:
            self.fail(f"{text!r} is no number of days (30, 30d, 4w).", param, ctx)
        return span // _DAY


def ahead(text: str, now: datetime) -> datetime:
    """A time to come: a span from now, a date or an RFC 3339 time. Raises `ValueError`: a sentence."""
    span = _span(text)
    try:
        return utc(text) if span is None else now + span
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is neither a span (30m, 24h, 90d, 4w) nor a date (2026-11-20).") from None


def utc(text: str) -> datetime:
    """A date or an RFC 3339 time. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _span(text: str) -> timedelta | None:
    found = times.span(text)
    return None if found is None else timedelta(microseconds=found)
