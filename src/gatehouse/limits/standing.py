"""Where a caller stands, as header lines of its answer (`docs/limits.md`).

Rules: of several hard limits of one measure the one with the least left. Names end in the measure, but for requests.
"""

from __future__ import annotations

from typing import Final

from gatehouse.limits.counters import ENDLESS, Counter
from gatehouse.limits.ledger import Plan
from gatehouse.model.moment import Moment

_SECOND: Final = 1_000_000
_NAME: Final = "x-gatehouse-ratelimit-"


def _names(suffix: str) -> tuple[str, str, str]:
    return f"{_NAME}limit{suffix}: ", f"\r\n{_NAME}remaining{suffix}: ", f"\r\n{_NAME}reset{suffix}: "


NAMES: Final = {
    "requests": _names(""),
    "concurrency": _names("-concurrency"),
    "tokens": _names("-tokens"),
    "spend": _names("-spend"),
}
"""By measure: what stands before the cap, before what is left, and before the seconds until that changes."""
_RESETS: Final = {measure: reset.encode() for measure, (_, _, reset) in NAMES.items()}


def standing(plan: Plan, now: Moment) -> bytes:
    """The lines, as of now."""
    steady = now.steady
    said = b""
    for counters in plan.measures:
        tightest: Counter | None = None
        least_left = ENDLESS
        for counter in counters:
            left = counter.least - counter.used(steady)
            if left < least_left and counter.least != ENDLESS:
                tightest, least_left = counter, left
        if tightest is None:
            continue
        if not tightest.heading:
            limit, remaining, _ = NAMES[tightest.measure]
            tightest.heading = f"{limit}{tightest.least}{remaining}".encode()
        changes = tightest.changes(now)
        if least_left < 0:
            least_left = 0
        if changes is None:
            said = b"%b%b%d\r\n" % (said, tightest.heading, least_left)
        else:
            reset = _RESETS[tightest.measure]
            said = b"%b%b%d%b%d\r\n" % (said, tightest.heading, least_left, reset, -(-changes // _SECOND))
    return said
