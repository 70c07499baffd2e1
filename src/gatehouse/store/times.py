"""Times as the store keeps them (integer microseconds since the epoch, UTC) and as people read them. Pure."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

SECOND: Final = 1_000_000
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
_UNITS: Final = {"m": 60 * SECOND, "h": HOUR, "d": DAY, "w": 7 * DAY}
_MICROSECOND: Final = timedelta(microseconds=1)


def now() -> int:
    """The present."""
    return time.time_ns() // 1000


def of(moment: datetime) -> int:
    """Exactly, and not through a binary float. A `moment` without zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def parse(text: str) -> int:
    """From RFC 3339. Raises `ValueError`."""
    return of(datetime.fromisoformat(text))


def rfc3339(microseconds: int) -> str:
    """`2026-11-20T08:15:30.000123Z`: always six decimals, so that text sorts as time."""
    return (_EPOCH + timedelta(microseconds=microseconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def span(text: str) -> int | None:
    """How long `30m`, `24h`, `7d` or `4w` is; `None`: it is no span."""
    found = _SPAN.fullmatch(text)
    return None if found is None else int(found[1]) * _UNITS[found[2]]
